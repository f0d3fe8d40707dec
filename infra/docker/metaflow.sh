#!/bin/sh
# Brings the tables to this version, which is done once however often it is started, and serves.
set -eu
export GOOSE_DRIVER=postgres
export GOOSE_DBSTRING="host=$MF_METADATA_DB_HOST port=$MF_METADATA_DB_PORT dbname=$MF_METADATA_DB_NAME user=$MF_METADATA_DB_USER"
export PGPASSWORD="$MF_METADATA_DB_PSWD"
goose -dir services/migration_service/migration_files up
exec python -m services.metadata_service.server
