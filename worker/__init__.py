"""What runs beside Redis and Postgres: the Celery worker, its collector, its pipeline and its sink."""
