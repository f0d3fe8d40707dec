#!/bin/bash
# A database and a user for Dagster and for Metaflow each, when the server is made; neither may reach the
# other's. Passwords go through psql's variables, which quote them, and not through its arguments.
set -euo pipefail
for name in dagster metaflow; do
  file="${SECRETS_FOLDER:-/run/secrets}/${name}_postgres_password"
  PASSWORD=$(cat "$file") psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set name="$name" \
    --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv password PASSWORD
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
