# shellcheck shell=bash
# Two etcds with TLS and authentication, and the DataStores that tell Kamaji of them. Sourced by `run`.

# Certificates of a store: an authority, its server's and root's.
certificates() ( # certificates NAME HOST FOLDER
  cd "$3" || exit
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=etcd-$1" -keyout ca.key -out ca.crt 2>/dev/null
  issue() { # issue FILE COMMON-NAME EXTENSIONS
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
      -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>/dev/null
  }
  issue server "$2" "subjectAltName=DNS:$2,DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth,clientAuth"
  issue root root extendedKeyUsage=clientAuth
)

# store NAME: a server in kamaji-system, and its DataStore.
store() {
  local name=$1 host=$1-0.$1.kamaji-system.svc.cluster.local folder
  folder=$(mktemp -d)
  certificates "$name" "$host" "$folder"
  kubectl create secret generic "$name-certs" -n kamaji-system --from-file="$folder" >/dev/null
  rm -rf "$folder"
  # shellcheck disable=SC2154  # `run` sets $example
  sed -e "s/@NAME@/$name/g" -e "s/@HOST@/$host/g" "$example/store.yaml" | kubectl apply -f - >/dev/null
  kubectl rollout status -n kamaji-system "statefulset/$name" --timeout=120s >/dev/null
  local one
  for one in "user add root --no-password" "user grant-role root root" "auth enable"; do
    # shellcheck disable=SC2086  # words of a command
    kubectl exec -n kamaji-system "$name-0" -- etcdctl $one >/dev/null
  done
  sed -e "s/@NAME@/$name/g" -e "s/@HOST@/$host/g" "$example/datastore.yaml" | kubectl apply -f -
}
