# Sets IMAGE, unless it is set, and container to a command that runs an image as you, so that it can read the files that
# only you can read. docker_run.sh and pipeline.sh read this.
: "${IMAGE:=airbyte/source-ravan-calcom:0.3.0}" # what `make image` builds in the connector's clone
container=(docker run --rm --user "$(id -u):$(id -g)")
if ! security=$(docker info --format '{{.SecurityOptions}}' 2>/dev/null); then
  container[0]=podman
  [ "$(id -u)" = 0 ] || container+=(--userns keep-id)
elif [[ $security == *rootless* ]]; then
  container=(docker run --rm) # its root is you
fi
# Further options of docker run, such as "--memory 1g --env HTTPS_PROXY".
read -ra options <<< "${CONTAINER_OPTIONS:-}"
container+=(${options[@]+"${options[@]}"}) # an empty array is unset to the bash of macOS
