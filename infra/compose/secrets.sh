#!/usr/bin/env bash
# Makes the secrets that are this machine's own, where they are not there yet; those that others give you
# are named, and left empty. Run it again when you have put them in place: whatever is in the folder is
# made readable for the containers' users, while the folder itself lets only you in.
set -euo pipefail
umask 077
folder="${SECRETS:-$(dirname "$0")/secrets}"
mkdir -p "$folder/tls"
for name in postgres_password dagster_postgres_password metaflow_postgres_password oidc_cookie_secret; do
  [[ -s $folder/$name ]] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/$name"
done
for name in oidc_client_secret notify_urls; do
  [[ -e $folder/$name ]] || : >"$folder/$name"
done
chmod -R u=rwX,go=rX "$folder"/*
[[ -s $folder/oidc_client_secret ]] || echo "To be filled in: $folder/oidc_client_secret, from your identity provider"
[[ -s $folder/tls/tls.crt && -s $folder/tls/tls.key ]] || echo "To be put in place: $folder/tls/tls.crt and tls.key, for the three names of .env"
