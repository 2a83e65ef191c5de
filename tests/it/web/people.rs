//! People: logins with tokens, at a real provider and by a proxy; sessions; what forms refuse.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use koschei::base::clock;
use koschei::base::secret::Secret;
use koschei::config::{LoginConfig, OidcConfig, OwnersConfig, ProxyConfig};
use koschei::log::{AnyLog, Credential, CredentialKind, Credentials as _, EventLog as _};
use koschei::web::{LoginSettings, Oidc, Owners, People};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::web_site::{Pages, ingested};

/// A response to a browser.
struct Shown {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Shown {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Returns a hidden member of a form on the page.
    fn hidden(&self, name: &str) -> &str {
        let beginning = format!("name=\"{name}\" value=\"");
        self.body.split_once(&beginning).unwrap_or_else(|| panic!("{}", self.body)).1.split('"').next().unwrap()
    }
}

/// A browser: it keeps cookies for each host, and follows no redirect by itself.
#[derive(Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    async fn ask(&mut self, at: &str, method: &str, path: &str, more: &str, form: &str) -> Shown {
        let cookies: Vec<String> =
            self.cookies.entry(at.to_owned()).or_default().iter().map(|(n, v)| format!("{n}={v}")).collect();
        let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let kind = if method == "POST" { "Content-Type: application/x-www-form-urlencoded\r\n" } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\
             {kind}{cookies}{more}\r\n{form}",
            form.len()
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> =
            lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let jar = self.cookies.entry(at.to_owned()).or_default();
        for (_, set) in headers.iter().filter(|(n, _)| n == "set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => drop(jar.remove(name)),
                value => drop(jar.insert(name.to_owned(), value.to_owned())),
            }
        }
        Shown { status, headers, body: body.to_owned() }
    }

    async fn get(&mut self, at: SocketAddr, path: &str) -> Shown {
        self.ask(&at.to_string(), "GET", path, "", "").await
    }

    async fn post(&mut self, at: SocketAddr, path: &str, form: &str) -> Shown {
        self.ask(&at.to_string(), "POST", path, &format!("Origin: http://{at}\r\n"), form).await
    }

    /// Follows redirects from an address until a page comes, and returns the addresses on the way.
    async fn follow(&mut self, from: String) -> (Shown, Vec<String>) {
        let mut way = vec![from];
        loop {
            let address = way.last().unwrap().strip_prefix("http://").unwrap().to_owned();
            let (at, path) = address.split_once('/').unwrap();
            let shown = self.ask(at, "GET", &format!("/{path}"), "", "").await;
            if !(300..400).contains(&shown.status) {
                return (shown, way);
            }
            let to = shown.header("location").to_owned();
            way.push(if to.starts_with('/') { format!("http://{at}{to}") } else { to });
            assert!(way.len() < 12, "{way:?}");
        }
    }

    fn session(&self, at: SocketAddr) -> Option<&String> {
        self.cookies.get(&at.to_string()).and_then(|jar| jar.get("koschei_session"))
    }
}

/// A provider of logins, until it is dropped.
struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start(redirect: &str) -> Self {
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("oidc");
        assert!(
            installed.join("installed.json").exists(),
            "there is no provider: run deploy/install-deps.sh build test"
        );
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs");
        let mut command = Command::new("node");
        command.arg(program).arg(installed).arg(redirect).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("there is no node: run deploy/install-deps.sh build test");
        let (mut issuer, mut said) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        while !issuer.starts_with("http://") {
            issuer.clear();
            assert_ne!(said.read_line(&mut issuer).unwrap(), 0, "it ended");
        }
        // It ends if nobody reads what it says.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, issuer: issuer.trim().to_owned() }
    }

    /// Makes it log somebody in, or nobody.
    async fn lets_in(&self, who: &str) {
        let at = self.issuer.strip_prefix("http://").unwrap();
        assert_eq!(Browser::default().ask(at, "POST", &format!("/as/{who}"), "", "").await.status, 200);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn login() -> LoginConfig {
    LoginConfig { admins: vec!["root".to_owned()], admin_teams: vec!["sysadmin".to_owned()], ..LoginConfig::default() }
}

async fn token(log: &AnyLog, person: &str, scopes: &[&str], days: i64) -> String {
    let (secret, now) = (Secret::draw(), clock::now());
    let token = Credential {
        id: secret.id.clone(),
        kind: CredentialKind::Token,
        person: person.to_owned(),
        label: String::new(),
        teams: Vec::new(),
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        made_at: now,
        expires_at: now.plus_secs(days * 86_400),
    };
    log.put_credential(&token, &secret.hash).await.unwrap();
    secret.text
}

async fn with_tokens(log: &AnyLog) -> Pages {
    Pages::to_people(log, |_| People::new(LoginSettings::from(&login()), None, Owners::default())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_logs_in_and_a_session_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = with_tokens(&log).await;
    let at = pages.address;
    let (head, counts) = (log.head().await.unwrap(), log.counts().await.unwrap());
    let secret = token(&log, "root", &["read", "write", "admin"], 1).await;
    let mut browser = Browser::default();
    let to_login = browser.get(at, "/account").await;
    assert_eq!((to_login.status, to_login.header("location")), (303, "/login?next=%2Faccount"));
    let page = browser.get(at, "/login?next=/causes").await;
    assert_eq!((page.status, page.header("cache-control"), page.hidden("next")), (200, "no-store", "/causes"));
    let wrong = browser.post(at, "/login/token", "token=koschei_nothing").await;
    assert!(wrong.status == 403 && browser.session(at).is_none(), "{}", wrong.body);
    let done = browser.post(at, "/login/token", &format!("token={secret}&next=//evil.example")).await;
    assert_eq!((done.status, done.header("location")), (303, "/account"), "never to another site");
    let cookie = done.header("set-cookie");
    assert!(cookie.contains("HttpOnly; SameSite=Lax; Max-Age=43200") && !cookie.contains(&secret), "{cookie}");
    let account = browser.get(at, "/account").await;
    assert_eq!((account.status, account.header("cache-control")), (200, "no-store"));
    assert!(account.body.contains("<h1>root</h1>") && account.body.contains("Administrator</dt><dd>yes"));
    // The other pages are the same for everybody, so no cache can show one person what is another's.
    let (known, unknown) = (browser.get(at, "/").await, Browser::default().get(at, "/").await);
    assert_eq!(known.body, unknown.body);
    // A form without the session's mark, of another session, or of another site does nothing.
    let own = account.hidden("form").to_owned();
    let mut other = Browser::default();
    other.post(at, "/login/token", &format!("token={secret}")).await;
    let theirs = other.get(at, "/account").await.hidden("form").to_owned();
    assert_ne!(own, theirs);
    for form in ["", "form=", &format!("form={theirs}")] {
        let refused = browser.post(at, "/logout", form).await;
        assert!([400, 403, 422].contains(&refused.status), "{form}: {}", refused.status);
    }
    for origin in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"] {
        let refused = browser.ask(&at.to_string(), "POST", "/logout", origin, &format!("form={own}")).await;
        assert_eq!(refused.status, 403, "{origin}");
    }
    assert_eq!(browser.get(at, "/account").await.status, 200, "nothing of this ended the session");
    let before = browser.clone();
    let out = browser.post(at, "/logout", &format!("form={own}")).await;
    assert_eq!((out.status, browser.session(at)), (303, None));
    assert_eq!(before.clone().get(at, "/account").await.status, 303, "the cookie is worth nothing any more");
    assert_eq!(other.get(at, "/account").await.status, 200, "another login goes on");
    // Nothing of this is in the log, and so in no export and on no bus.
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.counts().await.unwrap(), counts);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_make_tokens_and_revoke_what_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = with_tokens(&log).await;
    let at = pages.address;
    let mut browsers = Vec::new();
    for name in ["alice", "bob"] {
        let secret = token(&log, name, &["read", "write", "admin"], 1).await;
        let mut browser = Browser::default();
        browser.post(at, "/login/token", &format!("token={secret}")).await;
        browsers.push(browser);
    }
    let [alice, bob] = &mut browsers[..] else { unreachable!() };
    let mark = alice.get(at, "/account").await.hidden("form").to_owned();
    for bad in ["scope=all&days=3", "scope=read&days=0", "scope=read&days=4000", "scope=read&days=x"] {
        let refused = alice.post(at, "/account/tokens", &format!("form={mark}&label=x&{bad}")).await;
        assert!([400, 422].contains(&refused.status), "{bad}: {}", refused.status);
    }
    let made = alice.post(at, "/account/tokens", &format!("form={mark}&label=%3Cscript%3E&scope=write&days=3")).await;
    assert!(made.status == 200 && made.header("cache-control") == "no-store", "{}", made.body);
    assert!(made.body.contains("&lt;script&gt;") && !made.body.contains("<script"));
    let secret = made.body.split("koschei_").nth(1).unwrap().split('<').next().unwrap();
    let secret = format!("koschei_{secret}");
    assert!(!alice.get(at, "/account").await.body.contains(&secret), "it is shown once");
    // With a token, one is known, but makes no tokens and no sessions with it.
    let bearer = format!("Authorization: Bearer {secret}\r\n");
    let known = Browser::default().ask(&at.to_string(), "GET", "/account", &bearer, "").await;
    assert!(known.status == 200 && known.body.contains("<h1>alice</h1>") && !known.body.contains("Make a token"));
    let form = format!("form={mark}&label=x&scope=admin&days=300");
    let refused = Browser::default().ask(&at.to_string(), "POST", "/account/tokens", &bearer, &form).await;
    assert_eq!(refused.status, 403);
    let small = Browser::default().post(at, "/login/token", &format!("token={secret}")).await;
    assert!(small.status == 403 && small.body.contains("scope"), "{}", small.body);
    // A wrong token is nobody, also beside a good session.
    let wrong = alice.ask(&at.to_string(), "GET", "/account", "Authorization: Bearer koschei_no\r\n", "").await;
    assert_eq!(wrong.status, 303);
    // Only the own ones can be ended.
    let of_alice = log.credentials(Some("alice")).await.unwrap();
    let id = &of_alice.iter().find(|c| c.label == "<script>").unwrap().id;
    let bobs = bob.get(at, "/account").await;
    assert!(!bobs.body.contains(id.as_str()), "another person's are not shown");
    assert_eq!(bob.post(at, "/account/revoke", &format!("form={}&id={id}", bobs.hidden("form"))).await.status, 404);
    assert_eq!(alice.post(at, "/account/revoke", &format!("form={mark}&id={id}")).await.status, 303);
    assert_eq!(Browser::default().ask(&at.to_string(), "GET", "/account", &bearer, "").await.status, 303);
    // A form that is too large is not read.
    let large = format!("form={}", "a".repeat(20_000));
    assert_eq!(alice.post(at, "/account/revoke", &large).await.status, 400);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_proxy_says_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let claim = "X-Remote-User: carol\r\nX-Remote-Groups: a, sysadmin\r\n";
    for (address, expected) in [("127.0.0.1", 200), ("192.0.2.1", 303)] {
        let proxy = ProxyConfig {
            header: "X-Remote-User".to_owned(),
            teams_header: Some("X-Remote-Groups".to_owned()),
            addresses: vec![address.parse().unwrap()],
        };
        let config = LoginConfig { proxy: Some(proxy), ..login() };
        let pages =
            Pages::to_people(&log, |_| People::new(LoginSettings::from(&config), None, Owners::default())).await;
        let shown = Browser::default().ask(&pages.address.to_string(), "GET", "/account", claim, "").await;
        assert_eq!(shown.status, expected, "{address}");
        if expected == 200 {
            assert!(shown.body.contains("<h1>carol</h1>") && shown.body.contains("Administrator</dt><dd>yes"));
        }
        let forwarded = format!("{claim}X-Forwarded-For: 127.0.0.1\r\n");
        let shown = Browser::default().ask(&pages.address.to_string(), "GET", "/account", &forwarded, "").await;
        assert_eq!(shown.status, expected, "what a client forwards counts for nothing");
        pages.stop().await;
    }
    // Where nobody can log in, nothing that is claimed counts.
    let pages = Pages::over(&log).await;
    let shown = Browser::default().ask(&pages.address.to_string(), "GET", "/account", claim, "").await;
    assert_eq!(shown.status, 303);
    assert!(Browser::default().get(pages.address, "/login").await.body.contains("Nobody can log in here"));
    pages.stop().await;
}

/// Pages with a real provider of logins.
async fn with_provider(log: &AnyLog, secret: &Path) -> (Pages, Provider) {
    std::fs::write(secret, "only for tests\n").unwrap();
    let mut provider = None;
    let pages = Pages::to_people(log, |at| {
        let url = format!("http://{at}");
        let started = provider.insert(Provider::start(&format!("{url}/login/callback")));
        let oidc = OidcConfig {
            issuer: started.issuer.clone(),
            client_id: "koschei".to_owned(),
            client_secret_file: Some(secret.to_owned()),
            scopes: vec!["profile".to_owned(), "groups".to_owned()],
            name_claim: "preferred_username".to_owned(),
            teams_claim: "groups".to_owned(),
            ca_cert: None,
        };
        let made = Oidc::new(&oidc, &url).unwrap();
        let config = LoginConfig { url: Some(url), oidc: Some(oidc), ..login() };
        People::new(LoginSettings::from(&config), Some(made), Owners::default())
    });
    let pages = pages.await;
    (pages, provider.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_logs_people_in() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let (pages, provider) = with_provider(&log, &dir.path().join("secret")).await;
    let at = pages.address;
    provider.lets_in("alice?groups=packager,sysadmin").await;
    let mut browser = Browser::default();
    // A session that somebody else put into the browser is not the one that the login makes.
    browser
        .cookies
        .entry(at.to_string())
        .or_default()
        .insert("koschei_session".to_owned(), "koschei_planted".to_owned());
    let start = format!("http://{at}/login/start?next=/package/curl%3Fcollection=f99-build");
    let (_, way) = browser.follow(start.clone()).await;
    assert!(way.iter().any(|a| a.starts_with(&provider.issuer) && a.contains("code_challenge_method=S256")), "{way:?}");
    assert_eq!(way.last().unwrap(), &format!("http://{at}/package/curl?collection=f99-build"));
    assert_ne!(browser.session(at).unwrap(), "koschei_planted");
    let account = browser.get(at, "/account").await;
    assert!(account.body.contains("<h1>alice</h1>") && account.body.contains("packager, sysadmin"), "{}", account.body);
    assert!(account.body.contains("Administrator</dt><dd>yes"));
    // What the provider sent back is worth nothing a second time, and nothing in another browser.
    let callback = way.iter().find(|a| a.contains("/login/callback?")).unwrap();
    for mut again in [browser.clone(), Browser::default()] {
        let before = again.session(at).cloned();
        let (shown, _) = again.follow(callback.clone()).await;
        assert!(shown.status == 403 && shown.body.contains("not begun in this browser"), "{}", shown.body);
        assert_eq!(again.session(at).cloned(), before);
    }
    // A login that somebody else began cannot be ended here, whatever the state says.
    let mut victim = Browser::default();
    let begun = victim.ask(&at.to_string(), "GET", "/login/start", "", "").await;
    assert_eq!(begun.status, 303);
    let (shown, _) = victim.follow(format!("http://{at}/login/callback?code=stolen&state=other")).await;
    assert_eq!((shown.status, victim.session(at)), (403, None));
    // Whom the provider refuses is told so, and its text stays text.
    provider.lets_in("").await;
    let mut nobody = Browser::default();
    let (shown, _) = nobody.follow(start).await;
    assert!(shown.status == 403 && shown.body.contains("not &lt;today&gt;"), "{}", shown.body);
    assert_eq!(nobody.session(at), None);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_provider_the_service_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let (pages, provider) = with_provider(&log, &dir.path().join("secret")).await;
    drop(provider);
    let shown = Browser::default().get(pages.address, "/login/start").await;
    assert!(shown.status == 503 && shown.body.contains("does not answer as it should"), "{}", shown.body);
    assert_eq!(Browser::default().get(pages.address, "/").await.status, 200);
    pages.stop().await;
}

/// The packages of a person are those that Koji and the list of owners say, on the page and in the API.
#[tokio::test(flavor = "multi_thread")]
async fn people_find_their_packages() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let state = koschei::log::folding::state(&log, None, &mut |_| {}).await.unwrap();
    let c = &state.collections["f99-build"];
    let hub = &state.hubs[&c.settings.hub];
    let owned = |p: &&koschei::model::Name| hub.owner(&c.chain, p).is_some();
    let own = c.packages.keys().find(owned).expect("a package of the recording has an owner");
    let owner = log.name_of(hub.owner(&c.chain, own).unwrap()).await.unwrap().unwrap();
    let in_koji = |name: &koschei::model::Name| hub.owner(&c.chain, name) == hub.owner(&c.chain, own);
    let list = dir.path().join("alias.json");
    std::fs::write(&list, format!(r#"{{"rpms": {{"curl": ["{owner}", "zoe"], "no-such-package": ["zoe"]}}}}"#))
        .unwrap();
    let owners = Owners::default();
    owners.read(&OwnersConfig { file: Some(list), ..OwnersConfig::default() }).await.unwrap();
    let settings = LoginSettings::from(&login());
    let pages = Pages::to_people(&log, |_| People::new(settings, None, owners)).await;
    let found = async |name: &str| {
        let all = "state=failing,unresolved,ok,unknown,untracked,blocked&limit=1000&collection=f99-build&order=name";
        let answer = pages.json(&format!("/api/v2/packages?{all}&owner={name}")).await;
        let of = |p: &serde_json::Value| p["package"].as_str().unwrap().to_owned();
        answer["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let mut expected: Vec<String> =
        c.packages.keys().filter(|p| in_koji(p) || p.as_str() == "curl").map(ToString::to_string).collect();
    expected.sort();
    assert!(!expected.is_empty() && expected.len() <= c.packages.len());
    assert_eq!(found(&owner).await, expected);
    assert_eq!(found("zoe").await, ["curl"]);
    assert_eq!(found("nobody").await, Vec::<String>::new());
    let user = pages.get("/user/zoe").await;
    assert_eq!((user.status, user.headers["location"].as_str()), (303, "/packages?owner=zoe"));
    let page = pages.page("/packages?owner=zoe&collection=f99-build").await;
    assert!(page.contains("1 package") && page.contains("/package/curl?collection=f99-build"), "{page}");
    assert!(page.contains("name=\"owner\" value=\"zoe\""), "the form keeps the owner");
    pages.stop().await;
}
