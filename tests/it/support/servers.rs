//! Starts the servers that tests need. Each starts at most once per run of the test binary, in a
//! directory of its own.
//!
//! A server is a child of a shell that waits for the end of its input. When this process ends,
//! however that happens, the shell stops the server and removes the directory. If a server is not
//! installed, the test fails and names the package to install.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A running server.
pub struct Server {
    /// Directory of its socket, data and log.
    pub dir: PathBuf,
    _shell: Child,
}

/// Runs `script` with a new directory as `$1`, as `user` if we are root. The script prints a line
/// when the server is ready. Then it waits for the end of its input (`cat`), stops the server and
/// removes the directory.
pub fn start(name: &str, user: Option<&str>, script: &str) -> Server {
    let dir = tempfile::Builder::new().prefix(&format!("koschei-{name}-")).tempdir().unwrap().keep();
    let mut command = Command::new("/bin/sh");
    if let Some(user) = user.filter(|_| is_root()) {
        std::os::unix::fs::chown(&dir, Some(id(user, "-u")), Some(id(user, "-g"))).unwrap();
        command = as_user(user, "/bin/sh");
    }
    command.args(["-c", script, "sh"]).arg(&dir).current_dir(&dir);
    let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line.trim() != "ready" {
        let output = shell.wait_with_output().unwrap();
        panic!("{name} does not start: {line}{}", String::from_utf8_lossy(&output.stderr));
    }
    Server { dir, _shell: shell }
}

/// Returns a command that runs a program as `user` if we are root.
pub fn as_user(user: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

fn id(user: &str, what: &str) -> u32 {
    let output = Command::new("id").args([what, user]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap_or_else(|_| panic!("there is no user `{user}` to run the server as"))
}

/// Returns the directory with `initdb` and `pg_ctl` of the newest version.
pub fn postgres_bin() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|p| p.join("initdb").exists() && p.join("pg_ctl").exists());
    found.pop().map(|f| f.1).or(on_path).unwrap_or_else(|| {
        panic!("tests need PostgreSQL: apt-get install postgresql (Debian) or dnf install postgresql-server (Fedora)")
    })
}

/// Starts a PostgreSQL server with extra settings, such as `-c fsync=off`.
pub fn start_postgres(bin: &Path, settings: &str) -> Server {
    let script = format!(
        "set -e; dir=\"$1\"; bin='{}'
         LC_ALL=C \"$bin/initdb\" -D data -U koschei -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 || {{ cat \
         initdb.log >&2; exit 1; }}
         \"$bin/pg_ctl\" -D data -w -t 120 -l server.log -o \"-k $dir -c listen_addresses='' -c max_connections=400 \
         {settings}\" start >/dev/null 2>&1 \\
             || {{ cat server.log >&2; exit 1; }}
         echo ready
         cat >/dev/null || true
         \"$bin/pg_ctl\" -D data -m immediate stop >/dev/null 2>&1 || true
         cd /; rm -rf \"$dir\"",
        bin.display()
    );
    start("postgres", Some("postgres"), &script)
}

/// Starts pgbouncer in front of a server. Its socket in its directory has port 6432.
pub fn start_pgbouncer(postgres: &Server, mode: &str) -> Server {
    let script = format!(
        "set -e; dir=\"$1\"; PATH=\"$PATH:/usr/sbin:/usr/local/sbin\"
         printf '\"koschei\" \"\"\\n' >users
         cat >pgbouncer.ini <<END
[databases]
* = host={} port=5432
[pgbouncer]
listen_port = 6432
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = {mode}
END
         command -v pgbouncer >/dev/null || {{ echo 'tests need pgbouncer: apt-get install pgbouncer, or dnf install \
         pgbouncer' >&2; exit 1; }}
         pgbouncer pgbouncer.ini >server.log 2>&1 & pid=$!
         while [ ! -S \"$dir/.s.PGSQL.6432\" ]; do kill -0 $pid 2>/dev/null || {{ cat server.log >&2; exit 1; }}; \
         sleep 0.05; done
         echo ready
         cat >/dev/null || true
         kill $pid; wait $pid || true
         cd /; rm -rf \"$dir\"",
        postgres.dir.display()
    );
    start("pgbouncer", Some("postgres"), &script)
}

/// Returns the URL of a new, empty database on a server that all tests share.
pub async fn postgres_database() -> String {
    database("template1").await
}

/// Returns the URL of a copy of a database. Nobody may be connected to the original.
pub async fn postgres_copy(url: &str) -> String {
    let name = url.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap();
    database(name).await
}

async fn database(template: &str) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = SERVER.get_or_init(|| start_postgres(&postgres_bin(), "-c fsync=off"));
    let url = |name: &str| format!("postgres://koschei@localhost/{name}?host={}", server.dir.display());
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut conn = PgConnection::connect(&url("postgres")).await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY");
    sqlx::query(AssertSqlSafe(create)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    url(&name)
}
