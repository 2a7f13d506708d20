#!/bin/sh
# Writes .env for docker-compose.yml: every variable of .env.example with a random value. Never overwrites one.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo "squall: .env is there already: remove it to make another" >&2
    exit 1
fi
umask 077
letters() {
    head -c 256 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | cut -c "1-$1"
}
# 16 bytes as base64url without padding, as Kafka writes its ids. One that began with '-' would be taken for an option.
cluster_id() {
    printf 'A%s' "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
}
while IFS= read -r line; do
    case $line in
        KAFKA_CLUSTER_ID=) printf '%s%s\n' "$line" "$(cluster_id)" ;;
        [A-Z]*=) printf '%s%s\n' "$line" "$(letters 40)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env.new
mv .env.new .env
echo "squall: .env is written, with passwords nobody else has"
