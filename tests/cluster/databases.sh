# shellcheck shell=bash disable=SC2154  # `cluster` reads this file and sets $home, $here and the like
# Images of database servers, made of Debian's packages on this machine when somebody asks for them.

# database postgres|mariadb: the server with its clients. Its pod brings certificates in /certificates and a
# folder /data, and runs as nobody.
database() (
  case ${1:-} in
    postgres)
      programs=/usr/lib/postgresql
      [ -d $programs ] || fail "PostgreSQL is missing: apt-get install postgresql"
      major=$(find $programs -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n1)
      programs=$programs/$major
      files=("$programs"/bin/{postgres,initdb,psql,pg_dump} "$programs"/lib/{plpgsql,dict_snowball}.so "/usr/share/postgresql/$major" /usr/share/zoneinfo/UTC)
      ;;
    mariadb)
      major=$(mariadbd --version | grep -oP 'Ver \K[0-9]+\.[0-9]+') || fail "MariaDB is missing: apt-get install mariadb-server"
      files=(/usr/sbin/mariadbd /usr/bin/mariadb /usr/bin/mariadb-dump /usr/share/mysql/{charsets,english} /usr/share/mysql/mysql_{system_tables,performance_tables,system_tables_data}.sql)
      ;;
    *) fail "usage: cluster database postgres|mariadb" ;;
  esac
  tag=localhost/$1:$major
  archive=$home/images/${tag//[^a-z0-9.-]/_}.tar
  mkdir -p "$home"
  # Two that ask at once get one image.
  lock 9 "database-$1"
  if [ ! "$archive" -nt "$here/databases/$1" ] || [ ! "$archive" -nt "$here/databases.sh" ] || [ ! "$archive" -nt "${files[0]}" ]; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    folders "$root"
    # Links become what they lead to: the loader looks for the names that ldd shows. ldd fails for what is no program.
    libraries=$({ ldd "${files[@]}" 2>/dev/null || true; } | grep -oP '(=> |^\s+)\K/\S+' | sort -u)
    # shellcheck disable=SC2086  # a list of paths
    cp -rL --parents "${files[@]}" $libraries "$root"
    [ "$1" != postgres ] || for one in "$programs"/bin/*; do [ ! -e "$root$one" ] || ln -s "$one" "$root/usr/local/bin/"; done
    cp "$here/databases/$1" "$root/start"
    image "$tag" "$root" /start >&2
  fi
  echo "$tag"
)

# What a program expects of a root folder: a shell, a user, links for programs and libraries.
folders() {
  local applet one
  mkdir -p "$1"/{etc,tmp,data,certificates,usr/{bin,sbin,lib,lib64,local/bin}}
  chmod 755 "$1"; chmod 1777 "$1/tmp"
  for one in bin sbin lib lib64; do ln -s "usr/$one" "$1/$one"; done
  cp /bin/busybox "$1/usr/bin/"
  for applet in sh cat mv mkdir rm printf; do ln -s busybox "$1/usr/bin/$applet"; done
  echo 'nobody:x:65534:65534::/tmp:/bin/sh' >"$1/etc/passwd"
  echo 'nobody:x:65534:' >"$1/etc/group"
}
