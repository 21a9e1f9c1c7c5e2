"""The comparison of the topic with Postgres, and the repair of differences."""
