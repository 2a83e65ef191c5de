use std::fs;

use rstest::rstest;

use super::*;

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self { dir }
    }

    fn paths(&self) -> ProfilePaths {
        ProfilePaths { etc: self.dir.path().join("etc"), home: Some(self.dir.path().join("home")), file: None }
    }

    fn load(&self, name: &str) -> Result<Profile, ProfileError> {
        load_profile(name, &self.paths())
    }

    fn home(&self, path: &str) -> PathBuf {
        self.dir.path().join("home").join(path)
    }
}

fn koji_conf(content: &str) -> Files {
    Files::new(&[("etc/koji.conf", content)])
}

#[test]
fn what_distributions_install_is_read() {
    let files = koji_conf(
        "[koji]\n\n;configuration for koji cli tool\n\n;url of XMLRPC server\n\
         server = https://koji.example.org/kojihub\n\n\
         ;url of web interface\nweburl = https://koji.example.org/koji\n\n;url of package download site\n\
         topurl = https://kojipkgs.example.org/\n\n;path to the koji top directory\n;topdir = /mnt/koji\n\n\
         ;configuration for SSL athentication\n\n;client certificate\n;cert = ~/.koji/client.crt\n\nanon_retry = true\n\
         authtype = kerberos\nkrb_rdns = false\n",
    );
    let settings = files.load("koji").unwrap().into_settings().unwrap();
    assert_eq!(settings.server, "https://koji.example.org/kojihub");
    assert_eq!(settings.weburl.as_deref(), Some("https://koji.example.org/koji"));
    assert_eq!(settings.topurl.as_deref(), Some("https://kojipkgs.example.org/"));
    assert_eq!(settings.auth, Auth::Gssapi { principal: None, keytab: None, ccache: None });
    let defaults = HubSettings::new("x");
    assert_eq!((settings.request_timeout, settings.max_retries), (defaults.request_timeout, defaults.max_retries));
}

#[test]
fn later_files_count_more_key_by_key() {
    let files = Files::new(&[
        (
            "etc/koji.conf.d/20-b.conf",
            "[k]\nserver = http://b\nweburl = http://b\ntopurl = http://b\ntimeout = 1\nprincipal=b\n",
        ),
        ("etc/koji.conf.d/10-a.conf", "[k]\nserver = http://a\n[other]\nserver = http://other\n"),
        ("etc/koji.conf.d/30-c.txt", "[k]\nserver = http://not-this\n"),
        ("etc/koji.conf", "[k]\nserver = http://etc\nweburl = http://etc\ntimeout = 2\n"),
        ("home/.koji/config.d/x.conf", "[k]\nserver = http://home.d\ntimeout = 3\n"),
        ("home/.koji/config", "[k]\nserver = http://home\n"),
    ]);
    let profile = files.load("k").unwrap();
    let urls = [&profile.server, &profile.weburl, &profile.topurl].map(|url| url.as_deref().unwrap());
    assert_eq!(urls, ["http://home", "http://etc", "http://b"]);
    assert_eq!((profile.timeout, profile.principal.as_deref()), (Some(3), Some("b")));
    let file = files.home(".koji/config.d/x.conf");
    let paths = ProfilePaths { file: Some(file), ..files.paths() };
    assert_eq!(load_profile("k", &paths).unwrap().server.as_deref(), Some("http://home.d"));
    let paths = ProfilePaths { file: Some(files.home("none")), ..files.paths() };
    assert!(load_profile("k", &paths).unwrap_err().to_string().ends_with("home/none"));
}

#[test]
fn numbers_and_truths() {
    let files = koji_conf(
        "[k]\nserver = https://h/kojihub\ntimeout = 43200\nauth_timeout = 5\nmax_retries = 7\nretry_interval = 30\n\
         anon_retry = No\noffline_retry = 1\noffline_retry_interval = 9\nauthtype = noauth\n",
    );
    let settings = files.load("k").unwrap().into_settings().unwrap();
    let expected = HubSettings {
        request_timeout: Duration::from_secs(43_200),
        deadline: Duration::from_secs(43_200),
        auth_timeout: Duration::from_secs(5),
        max_retries: 7,
        longest_wait: Duration::from_secs(30),
        anon_retry: false,
        offline_retry: true,
        offline_wait: Duration::from_secs(9),
        ..HubSettings::new("https://h/kojihub")
    };
    assert_eq!(settings, expected);
}

#[test]
fn certificates_are_found_where_koji_finds_them() {
    let server = "[k]\nserver = https://h/kojihub\n";
    let auth = |files: &Files| files.load("k").unwrap().into_settings().map(|s| (s.auth, s.serverca));
    let kerberos = Auth::Gssapi { principal: None, keytab: None, ccache: None };
    assert_eq!(auth(&koji_conf(server)).unwrap(), (kerberos.clone(), None));
    let files =
        Files::new(&[("etc/koji.conf", server), ("home/.koji/client.crt", "PEM"), ("home/.koji/serverca.crt", "PEM")]);
    let cert = files.home(".koji/client.crt");
    let expected = (Auth::Certificate { cert, key: None }, Some(files.home(".koji/serverca.crt")));
    assert_eq!(auth(&files).unwrap(), expected);
    let files = koji_conf(&format!("{server}authtype = ssl\ncert = ~/.fedora.cert\nserverca = ~/ca.crt\n"));
    let cert = files.home(".fedora.cert");
    assert_eq!(auth(&files).unwrap(), (Auth::Certificate { cert, key: None }, Some(files.home("ca.crt"))));
    let files = koji_conf(&format!("{server}cert = /not/there\n"));
    assert_eq!(auth(&files).unwrap(), (kerberos, None), "a certificate that is not there chooses nothing");
    let files = koji_conf(&format!("{server}authtype = ssl\n"));
    assert!(auth(&files).unwrap_err().to_string().contains("there is no `cert`"));
}

#[test]
fn kerberos_has_its_files() {
    let files = koji_conf(
        "[k]\nserver = https://h/kojihub\nauthtype = gssapi\nprincipal = koschei@EXAMPLE.ORG\n\
         keytab = ~/koschei.keytab\n\
         ccache = FILE:/run/koschei/cc\n",
    );
    let expected = Auth::Gssapi {
        principal: Some("koschei@EXAMPLE.ORG".to_owned()),
        keytab: Some(files.home("koschei.keytab")),
        ccache: Some("FILE:/run/koschei/cc".to_owned()),
    };
    assert_eq!(files.load("k").unwrap().into_settings().unwrap().auth, expected);
}

#[test]
fn what_knows_better_is_set_before() {
    let mut profile =
        koji_conf("[k]\nserver = https://h/kojihub\nno_ssl_verify = true\nauthtype = password\n").load("k").unwrap();
    assert!(profile.clone().into_settings().unwrap_err().to_string().contains("`authtype` is `password`"));
    profile.authtype = Some("noauth".to_owned());
    assert!(profile.clone().into_settings().unwrap_err().to_string().contains("set `serverca`"));
    profile.serverca = Some("/etc/ca.pem".into());
    profile.server = None;
    assert!(profile.clone().into_settings().unwrap_err().to_string().contains("there is no `server`"));
    profile.server = Some("https://other/kojihub".to_owned());
    assert_eq!(profile.into_settings().unwrap().server, "https://other/kojihub");
}

#[test]
fn the_form_is_that_of_pythons_configparser() {
    let files = koji_conf(
        "# comment\n[DEFAULT]\nhost = h.example.org\ntimeout: 5\n\n[k]  \n\
         SERVER = https://%(host)s/kojihub\n  ; in between\n\
         weburl : https://%(host)s/%%20koji # not a comment\ntopurl =\n  https://files\n  .example.org\n\nprincipal =\n\
         [other]\nserver = %(broken\nserver2 = x\n",
    );
    let profile = files.load("k").unwrap();
    assert_eq!(profile.server.as_deref(), Some("https://h.example.org/kojihub"));
    assert_eq!(profile.weburl.as_deref(), Some("https://h.example.org/%20koji # not a comment"));
    assert_eq!(profile.topurl.as_deref(), Some("\nhttps://files\n.example.org"), "as Python has it");
    assert_eq!((profile.timeout, profile.principal), (Some(5), None));
}

#[rstest]
#[case::number("[k]\nserver = x\nmax_retries = many\n", 3, "`max_retries` must be a whole number")]
#[case::negative("[k]\ntimeout = -1\n", 2, "`timeout` must be")]
#[case::truth("[k]\nanon_retry = perhaps\n", 2, "`anon_retry` must be yes or no")]
#[case::no_section("server = x\n", 1, "before any")]
#[case::no_value("[k]\nserver\n", 2, "`key = value`")]
#[case::no_key("[k]\n= x\n", 2, "`key = value`")]
#[case::open_section("[k\n", 1, "`]` is missing")]
#[case::key_twice("[k]\nserver = a\nServer = b\n", 3, "`server` is there twice")]
#[case::section_twice("[k]\n[other]\n[k]\n", 3, "the section `k` is there twice")]
#[case::percent("[k]\nserver = 100%\n", 2, "a `%` must be")]
#[case::unknown("[k]\nserver = %(host)s\n", 2, "there is no `host`")]
#[case::circle("[k]\nserver = %(server)s\n", 2, "without end")]
fn errors_name_file_and_line(#[case] content: &str, #[case] line: usize, #[case] text: &str) {
    let error = koji_conf(content).load("k").unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&format!("etc/koji.conf, line {line}: ")) && message.contains(text), "{message}");
    assert_eq!(error.class(), Class::Rejected);
}

#[test]
fn bombs_and_large_files_are_refused() {
    let mut content = "[k]\na0 = xxxxxxxxxxxxxxxx\n".to_owned();
    for n in 1..=9 {
        content.push_str(&format!("a{n} = {}\n", format!("%(a{})s", n - 1).repeat(10)));
    }
    let error = koji_conf(&format!("{content}server = %(a9)s\n")).load("k").unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    let error = koji_conf(&"# x\n".repeat(300_000)).load("k").unwrap_err();
    assert!(matches!(error, ProfileError::Bound { .. }), "{error}");
}

#[test]
fn a_profile_that_is_not_there_says_where_it_was_looked_for() {
    let error = koji_conf("[other]\n").load("k").unwrap_err().to_string();
    assert!(error.starts_with("find the profile `k`: it is not in /") && error.ends_with("etc/koji.conf"), "{error}");
    let error = Files::new(&[]).load("k").unwrap_err().to_string();
    assert!(error.contains("there is no configuration of Koji"), "{error}");
}
