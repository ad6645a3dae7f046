# shellcheck shell=bash disable=SC2154
# Who may call a cluster: its token file and kubeconfigs, for up.sh and node/up.sh to source.
#
# In:  $dir, the cluster's folder; $dir/certs/apiserver.crt once the API server has made it.
# Out: write_tokens, token, write_kubeconfig. A file is complete from its first moment, and is never written twice.

# random_token: 32 hexadecimal digits.
random_token() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# write_tokens USER=GROUP...
write_tokens() {
  local each
  [[ ! -e $dir/tokens.csv ]] || return 0
  for each; do echo "$(random_token),${each%%=*},${each%%=*},${each#*=}"; done >"$dir/data/tokens.csv"
  mv "$dir/data/tokens.csv" "$dir/tokens.csv"
}

# token USER
token() { awk -F, -v user="$1" '$2 == user {print $1}' "$dir/tokens.csv"; }

# write_kubeconfig FILE SERVER USER...: a context of the same name for each; the first is the current one.
write_kubeconfig() {
  local file=$1 server=$2 authority user
  shift 2
  [[ ! -e $file ]] || return 0
  authority=$(awk '/BEGIN/ {pem = ""} {pem = pem $0 "\n"} END {printf "%s", pem}' "$dir/certs/apiserver.crt" | base64 -w0) # the last is the issuer
  {
    printf '%s\n' "apiVersion: v1" "kind: Config" "clusters:"
    echo "- {name: test, cluster: {server: \"$server\", certificate-authority-data: $authority}}"
    echo "users:"
    for user; do echo "- {name: \"$user\", user: {token: $(token "$user")}}"; done
    echo "contexts:"
    for user; do echo "- {name: \"$user\", context: {cluster: test, user: \"$user\", namespace: default}}"; done
    echo "current-context: \"$1\""
  } >"$dir/data/kubeconfig"
  mv "$dir/data/kubeconfig" "$file"
}
