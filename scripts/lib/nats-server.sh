# Finds the nats-server, or has Debian's installed; sourced after setup.sh.

# Prints where it is: what NATS_SERVER names, or the machine's own. False where there is none and none can be had.
find_nats_server() {
  if [[ -n ${NATS_SERVER-} ]]; then
    printf '%s\n' "$NATS_SERVER"
    return
  fi
  # Debian puts it where the PATH of people who are not root does not lead.
  PATH=$PATH:/usr/sbin:/usr/local/bin command -v nats-server
}

require_nats_server() {
  find_nats_server || { install_debian_package nats-server && find_nats_server; }
}
