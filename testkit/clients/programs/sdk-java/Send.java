import io.sentry.Sentry;

/** Sends an event to the DSN in the environment. */
public class Send {
    public static void main(String[] arguments) {
        Sentry.init(options -> options.setDsn(System.getenv("DSN")));
        Sentry.captureMessage("an event");
        Sentry.flush(10_000);
        Sentry.close();
    }
}
