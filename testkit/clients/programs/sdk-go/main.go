// Sends an event to the DSN in the environment.
package main

import (
	"os"
	"time"

	"github.com/getsentry/sentry-go"
)

func main() {
	if err := sentry.Init(sentry.ClientOptions{Dsn: os.Getenv("DSN")}); err != nil {
		panic(err)
	}
	sentry.CaptureMessage("an event")
	sentry.Flush(10 * time.Second)
}
