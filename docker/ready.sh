#!/usr/bin/env bash
# Ends with 0 if the server in this container takes work. The image has no curl; bash opens the socket itself.
set -euo pipefail

listen=${RETRO_LISTEN:-127.0.0.1:8080}
port=${listen##*:} host=${listen%:*}
case $host in
    0.0.0.0) host=127.0.0.1 ;;
    '[::]') host=::1 ;;
    '['*']') host=${host:1:-1} ;;
esac
exec 3<>"/dev/tcp/$host/$port"
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
