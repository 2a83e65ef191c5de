//! Login with Kerberos, with a KDC of our own and a hub that checks our tickets.
//!
//! The system's library reads its paths from the process's environment. So each case runs in a
//! process of its own: this test program again, with the single test `in_a_process_of_its_own`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use koschei::koji::gss::Acceptor;
use koschei::koji::login::gssapi_environment;
use koschei::koji::{Auth, HubClient, HubError, HubSettings, SettingsError};
use koschei::model::{Class, Classified};
use rstest::rstest;
use tokio::time::Instant;

use crate::koji::tls::Authority;
use crate::koji_stub::{Reply, Seen, Stub, raw};

const REALM: &str = "KOSCHEI.TEST";
const PRINCIPAL: &str = "koschei@KOSCHEI.TEST";

/// A key distribution centre. It stops when this value is dropped.
struct Kdc {
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Kdc {
    /// Starts a KDC that knows our principal and the web server of `localhost`. Fails the test if
    /// it does not start.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = crate::hub::ports::free();
        let at = dir.path().display();
        let krb5 = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = \
             false\n dns_canonicalize_hostname = false\n udp_preference_limit = 1\n\
             [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
             [domain_realm]\n localhost = {REALM}\n[logging]\n kdc = FILE:{at}/kdc.log\n"
        );
        let kdc = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
             [realms]\n {REALM} = {{\n  database_name = {at}/principal\n  key_stash_file = {at}/stash\n  acl_file = \
             {at}/acl\n }}\n"
        );
        std::fs::write(dir.path().join("krb5.conf"), krb5).unwrap();
        std::fs::write(dir.path().join("kdc.conf"), kdc).unwrap();
        run(dir.path(), "kdb5_util", &["create", "-s", "-r", REALM, "-P", "secret"]);
        for (principal, keytab) in [("HTTP/localhost", "http.keytab"), ("koschei", "koschei.keytab")] {
            run(dir.path(), "kadmin.local", &["-r", REALM, "-q", &format!("addprinc -randkey {principal}")]);
            let keytab = dir.path().join(keytab).display().to_string();
            run(dir.path(), "kadmin.local", &["-r", REALM, "-q", &format!("ktadd -k {keytab} {principal}")]);
            assert!(Path::new(&keytab).exists(), "kadmin.local made no keytab for {principal}");
        }
        let child = command(dir.path(), "krb5kdc").arg("-n").args(["-r", REALM]).spawn().unwrap();
        let mut kdc = Self { dir, child };
        let deadline = Instant::now() + Duration::from_secs(300);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = kdc.child.try_wait().unwrap() {
                panic!("krb5kdc ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "krb5kdc does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        kdc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a case in a process of its own, with our keytab or another one.
    fn case(&self, case: &str, keytab: &str) {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "koji::kerberos::in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env("KOSCHEI_KERBEROS_CASE", case)
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5_KTNAME", self.path("http.keytab"))
            .env("KRB5_CLIENT_KTNAME", self.path(keytab))
            .env("KRB5CCNAME", format!("FILE:{}", self.path(&format!("cc-{case}")).display()))
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() && text.contains("1 passed"), "{case}: {text}");
    }
}

fn command(dir: &Path, program: &str) -> Command {
    // Debian installs these programs in a directory that is only on root's path.
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command
        .env("PATH", path)
        .env("KRB5_CONFIG", dir.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", dir.join("kdc.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn run(dir: &Path, program: &str, arguments: &[&str]) {
    let status = command(dir, program).args(arguments).status();
    let status =
        status.unwrap_or_else(|e| panic!("{program}: {e}; install it, with `apt install krb5-kdc krb5-admin-server`"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

#[rstest]
#[case::with_a_keytab("keytab", "koschei.keytab")]
#[case::as_somebody_in_particular("principal", "koschei.keytab")]
#[case::as_somebody_unknown("unknown-principal", "koschei.keytab")]
#[case::without_a_keytab("nothing", "none.keytab")]
#[case::whose_server_does_not_know_itself("false-server", "koschei.keytab")]
#[case::that_the_server_refuses("refused", "koschei.keytab")]
#[case::with_another_environment("environment", "koschei.keytab")]
#[case::of_the_program_without_an_environment("program", "koschei.keytab")]
fn a_login_with_kerberos(#[case] case: &str, #[case] keytab: &str) {
    Kdc::start().case(case, keytab);
}

#[test]
fn a_login_while_no_kdc_answers() {
    let mut kdc = Kdc::start();
    kdc.child.kill().unwrap();
    kdc.child.wait().unwrap();
    kdc.case("no-kdc", "koschei.keytab");
    kdc.child = command(kdc.dir.path(), "krb5kdc").arg("-n").args(["-r", REALM]).spawn().unwrap();
}

/// Checks a ticket like a web server. Returns the principal and the token that proves the server's
/// identity to the client.
fn accept(header: &str) -> (String, Vec<u8>) {
    let token = STANDARD.decode(header.strip_prefix("Negotiate ").unwrap()).unwrap();
    let mut acceptor = Acceptor::new().unwrap();
    let (answer, complete) = acceptor.step(&token).unwrap();
    assert!(complete);
    (acceptor.peer().unwrap(), answer)
}

/// Returns the hub's answer in a case.
fn hub(case: &str, seen: &Seen) -> Reply {
    if !seen.is_login() {
        assert_eq!(seen.header("authorization"), None, "only the login carries a ticket");
        return Reply::value(7);
    }
    let Some(header) = seen.header("authorization").filter(|_| case != "refused") else {
        return Reply::Http(401, vec![("WWW-Authenticate", "Negotiate".to_owned())], b"<h1>Unauthorized</h1>".to_vec());
    };
    let (who, mut proof) = accept(header);
    assert_eq!(who, PRINCIPAL);
    if case == "false-server" {
        // Well-formed, but not made with the secret.
        let last = proof.len() - 1;
        proof[last] ^= 1;
    }
    let Reply::Answer(answer) = Reply::session(1) else { unreachable!() };
    let body = koschei::koji::xmlrpc::encode_response(&answer).unwrap();
    Reply::Http(200, vec![("WWW-Authenticate", format!("Negotiate {}", STANDARD.encode(proof)))], body)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the other tests with an environment"]
async fn in_a_process_of_its_own() {
    let case = std::env::var("KOSCHEI_KERBEROS_CASE").unwrap();
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let stub = {
        let case = case.clone();
        Stub::start_tls(authority.localhost(), move |seen| hub(&case, seen)).await
    };
    let keytab = std::env::var("KRB5_CLIENT_KTNAME").unwrap();
    let auth = Auth::Gssapi {
        principal: match case.as_str() {
            "principal" => Some(PRINCIPAL.to_owned()),
            "unknown-principal" => Some("nobody@KOSCHEI.TEST".to_owned()),
            _ => None,
        },
        keytab: Some(if case == "environment" { "/another.keytab".into() } else { keytab.clone().into() }),
        ccache: None,
    };
    let serverca = Some(authority.write(dir.path()));
    let settings = HubSettings { auth: auth.clone(), serverca, max_retries: 1, ..stub.settings() };
    let hub = HubClient::new(settings).unwrap();
    if case == "program" {
        return the_program_finds_its_keytab(&stub, dir.path(), &keytab, &authority.write(dir.path()));
    }
    let mut session = hub.session();
    let outcome = session.ask(raw("build", vec![])).await;
    match (case.as_str(), outcome) {
        ("keytab" | "principal", Ok(_)) => {
            assert_eq!((session.id(), stub.seen().len()), (Some(1), 2));
            session.logout().await.unwrap();
            session.login().await.unwrap();
        }
        ("unknown-principal" | "nothing", Err(error)) => {
            let HubError::Kerberos { unreachable: false, .. } = &error else { panic!("{error:?}") };
            assert_eq!((error.class(), stub.seen().len()), (Class::Rejected, 0), "{error}");
            assert!(error.to_string().contains("is there a valid ticket or keytab"), "{error}");
        }
        ("no-kdc", Err(error)) => {
            let HubError::Kerberos { unreachable: true, .. } = &error else { panic!("{error:?}") };
            assert_eq!(error.class(), Class::Unavailable, "{error}");
        }
        ("false-server", Err(error)) => {
            assert!(matches!(error, HubError::Kerberos { unreachable: false, .. }), "{error:?}");
            assert_eq!(stub.seen().len(), 1, "nothing is asked of a server that is not who it should be");
        }
        ("refused", Err(error)) => {
            assert!(matches!(&error, HubError::Unauthorized { scheme, .. } if scheme == "Negotiate"), "{error:?}");
            assert_eq!(error.class(), Class::Rejected);
        }
        ("environment", Err(HubError::Settings(SettingsError::Environment { name, wanted }))) => {
            assert_eq!(gssapi_environment(&auth), [(name, wanted)]);
        }
        (case, outcome) => panic!("{case}: {outcome:?}"),
    }
}

/// The configuration is enough: `koschei doctor` sets up its environment itself, and so does
/// `serve`.
fn the_program_finds_its_keytab(stub: &Stub, dir: &Path, keytab: &str, serverca: &Path) {
    let hub = |name: &str, keytab: &str| {
        format!(
            "[[hub]]\nname = \"{name}\"\nserver = \"{}\"\ntopurl = \"{}\"\nauth = \"gssapi\"\n\
             principal = \"{PRINCIPAL}\"\n\
             keytab = \"{keytab}\"\nserverca = \"{}\"\n",
            stub.settings().server,
            dir.display(),
            serverca.display()
        )
    };
    let path = dir.join("koschei.toml");
    let doctor = |text: &str| {
        std::fs::write(&path, format!("[serve]\ncache_dir = \"{}\"\n{text}", dir.join("cache").display())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.args(["doctor", "--json", "--timeout", "120", "--config"]).arg(&path);
        command.arg("--db").arg(dir.join("koschei.db")).env_remove("KRB5_CLIENT_KTNAME").env_remove("KOSCHEI_DB");
        let out = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    };
    let said = doctor(&hub("primary", keytab));
    let logins = stub.seen().iter().filter(|seen| seen.is_login() && seen.header("authorization").is_some()).count();
    assert!(logins > 0, "nobody logged in with a ticket: {said}");
    assert!(!said.contains("KRB5_CLIENT_KTNAME"), "{said}");
    let another = std::env::var("KRB5_KTNAME").unwrap();
    let said = doctor(&(hub("primary", keytab) + &hub("other", &another)));
    assert!(said.contains("into one keytab"), "{said}");
    let said = doctor(&hub("primary", "/nobody/has/this.keytab"));
    assert!(said.contains("read keytab /nobody/has/this.keytab: No such file"), "{said}");
}
