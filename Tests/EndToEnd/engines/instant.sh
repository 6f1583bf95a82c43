#!/bin/sh
# An engine of docs/engine-protocol.md that answers "ok" and is there at once: hosts are killed soon after they begin.
echo '{"event":"ready","protocol":1,"fingerprint":"instant-1","context":65536,"slots":1,"tokens":{"per_byte":1,"per_message":2,"fixed":2,"exact":false},"sampling":["temperature","seed"]}'
while read -r line; do
    case $line in
    *'"op":"generate"'*) ;;
    *) continue ;;
    esac
    id=${line#*\"id\":}
    id=${id%%[,\}]*}
    echo "{\"event\":\"text\",\"id\":$id,\"text\":\"ok\"}"
    echo "{\"event\":\"done\",\"id\":$id,\"reason\":\"stop\",\"completion_tokens\":2,\"prompt_tokens\":2}"
done
