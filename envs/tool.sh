# Sourced: fetch_tool NAME PACKAGE==VERSION installs a tool for this one call, into $tool/bin.
# The environment of the workflow stays as its lock says. Status 2 where there is no network.
fetch_tool() {
    tool=$(mktemp -d)
    trap 'rm -rf "$tool"' EXIT
    "${PYTHON:-python3.11}" -m venv "$tool"
    "$tool/bin/pip" install --quiet --retries 1 --timeout 10 "$2" 2>"$tool/said" || {
        echo "error: make $1 needs a network: ${2%%==*} can't be fetched ($(tail -1 "$tool/said"))"
        exit 2
    }
}
