module clients/go-sentry

go 1.26

require github.com/jianyuan/go-sentry/v2 v2.8.4

require (
	github.com/google/go-querystring v1.1.0 // indirect
	github.com/peterhellberg/link v1.2.0 // indirect
)
