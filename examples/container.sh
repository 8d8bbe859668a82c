# Sets IMAGE, unless it is set, and `container` to a command that runs an image under your user ID, so that it can read
# files that only you can read. docker_run.sh and pipeline.sh source this file.
: "${IMAGE:=airbyte/source-ravan-calcom:0.3.0}" # built by `make image` in the connector's clone
container=(docker run --rm --user "$(id -u):$(id -g)")
if ! security=$(docker info --format '{{.SecurityOptions}}' 2>/dev/null); then
  container[0]=podman
  [ "$(id -u)" = 0 ] || container+=(--userns keep-id)
elif [[ $security == *rootless* ]]; then
  container=(docker run --rm) # in a rootless engine, root in the container is your user
fi
# Further options of docker run, such as "--memory 1g --env HTTPS_PROXY".
read -ra options <<< "${CONTAINER_OPTIONS:-}"
container+=(${options[@]+"${options[@]}"}) # an empty array is unset to the bash of macOS
