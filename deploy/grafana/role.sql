-- The account that Grafana reads with: psql runs this, as often as one likes, after `fenliu migrate`.
-- It inherits fenliu_dashboard, which may read the views named dash_* and nothing else.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
\getenv password GRAFANA_DATABASE_PASSWORD

SELECT 'CREATE ROLE grafana' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') \gexec
ALTER ROLE grafana LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
GRANT fenliu_dashboard TO grafana;
