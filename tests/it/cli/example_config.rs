//! The example configuration has every key, with an explanation and its real default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use koschei::bus::amqp;
use koschei::config::{
    AnnounceConfig, BusConfig, CollectionConfig, Config, GroupConfig, HubConfig, JetStreamConfig, LoginConfig,
    OidcConfig, OwnersConfig, PackageConfig, ProxyConfig, ServeConfig,
};
use koschei::decide::Policy;
use koschei::koji::client::HubSettings;
use serde_json::{Map, Value, json};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text() -> String {
    std::fs::read_to_string(file("koschei.toml")).unwrap()
}

/// What the line says about the default.
#[derive(Clone, PartialEq, Debug)]
enum Says {
    /// Nothing: the value is the default.
    Default,
    /// The key has no default.
    NoDefault,
    /// The default is this value, and the line shows another one.
    Other(Value),
}

/// A line with a key.
struct Line {
    table: String,
    key: String,
    active: bool,
    value: Value,
    says: Says,
    explained: bool,
}

fn value(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let (_, value) = table.into_iter().next().unwrap_or_else(|| panic!("{text}: no value"));
    serde_json::to_value(value).unwrap()
}

/// Returns the lines with keys, including commented ones.
fn lines() -> Vec<Line> {
    let mut found = Vec::new();
    let (mut table, mut explained) = (String::new(), false);
    for line in text().lines() {
        let prose = line.starts_with("# ") || line == "#";
        if line.is_empty() || line.starts_with('[') || line.starts_with("#[") {
            explained = false;
            table = if line.is_empty() { table } else { line.trim_matches(['#', '[', ']']).to_owned() };
        } else if prose {
            explained = true;
        } else {
            let (active, text) = line.strip_prefix('#').map_or((true, line), |rest| (false, rest));
            let (key, _) = text.split_once(" = ").unwrap_or_else(|| panic!("neither a key nor a comment: {line}"));
            let says = match text.rsplit_once("# ").map(|(_, mark)| mark) {
                None => Says::Default,
                Some("no default") => Says::NoDefault,
                Some(mark) => {
                    let default = mark.strip_prefix("default: ").unwrap_or_else(|| panic!("{line}: what is `{mark}`?"));
                    Says::Other(value(&format!("x = {default}")))
                }
            };
            found.push(Line { table: table.clone(), key: key.to_owned(), active, value: value(text), says, explained });
        }
    }
    found
}

fn object(of: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(of).unwrap() {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

/// Parses a record with only its required key. That key has no default.
fn sparse<T: serde::Serialize + serde::de::DeserializeOwned>(needed: &str) -> Map<String, Value> {
    let mut all = object(&toml::from_str::<T>(&format!("{needed} = 'x'")).unwrap());
    all.insert(needed.to_owned(), Value::Null);
    all
}

/// Returns every key by table, with its default. Null means no default.
fn keys() -> BTreeMap<&'static str, Map<String, Value>> {
    let mut top = object(&Config::default());
    let mut policy = object(&Policy::default());
    // These keys are not serialised unless they are set.
    let schema = serde_json::to_value(schemars::schema_for!(Policy)).unwrap();
    policy.insert("refused_retry_secs".to_owned(), json!(Policy::default().refused_retry_secs));
    for (key, of) in schema["properties"].as_object().unwrap() {
        let silent = match of["type"].as_str() {
            Some("boolean") => json!(false),
            Some("array") => json!([]),
            _ => Value::Null,
        };
        policy.entry(key.clone()).or_insert(silent);
    }
    let usual = Policy::default();
    policy["unclear_repeats"] = json!(usual.unclear_repeats);
    policy["unclear_apart_secs"] = json!(usual.unclear_apart_secs);
    policy["unclear_retry_base_secs"] = json!(usual.unclear_retry_base_secs);
    let mut collection = sparse::<CollectionConfig>("name");
    for table in ["serve", "bus", "announce", "jetstream", "login", "owners", "policy", "hub", "collection", "group"] {
        assert!(top.remove(table).is_some(), "there is no [{table}] any more");
    }
    assert!(collection.remove("package").is_some());
    let mut login = object(&LoginConfig::default());
    assert!(login.remove("oidc").is_some() && login.remove("proxy").is_some());
    let mut oidc = object(&toml::from_str::<OidcConfig>("issuer = 'x'\nclient_id = 'x'").unwrap());
    oidc.extend(["issuer", "client_id"].map(|key| (key.to_owned(), Value::Null)));
    let mut proxy = object(&toml::from_str::<ProxyConfig>("header = 'x'\naddresses = []").unwrap());
    proxy.extend(["header", "addresses"].map(|key| (key.to_owned(), Value::Null)));
    let (mut bus, mut hub) = (object(&BusConfig::default()), sparse::<HubConfig>("server"));
    let mut announce = object(&AnnounceConfig::default());
    // Other code fills in these defaults.
    let usual = HubSettings::new("");
    let fill = |table: &mut Map<String, Value>, key: &str, default: Value| {
        assert_eq!(table.insert(key.to_owned(), default), Some(Value::Null), "{key}");
    };
    fill(&mut bus, "queue", json!(amqp::QUEUE));
    fill(&mut announce, "exchange", json!(amqp::EXCHANGE));
    fill(&mut hub, "timeout_secs", json!(usual.request_timeout.as_secs()));
    fill(&mut hub, "requests_per_second", json!(usual.requests_per_second));
    BTreeMap::from([
        ("", top),
        ("serve", object(&ServeConfig::default())),
        ("bus", bus),
        ("announce", announce),
        ("jetstream", object(&JetStreamConfig::default())),
        ("login", login),
        ("login.oidc", oidc),
        ("login.proxy", proxy),
        ("owners", object(&OwnersConfig::default())),
        ("policy", policy),
        ("hub", hub),
        ("collection", collection),
        ("collection.package", sparse::<PackageConfig>("name")),
        ("group", sparse::<GroupConfig>("name")),
    ])
}

#[test]
fn it_can_be_used_as_it_is() {
    let config = Config::load(&file("koschei.toml")).unwrap();
    assert_eq!((config.hubs.len(), config.collections.len()), (1, 1));
    assert!(config.bus.is_there() && config.serve.listen.is_some());
}

#[test]
fn every_line_can_be_made_to_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("koschei.toml");
    let all: Vec<String> = text()
        .lines()
        .map(|l| l.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(l).to_owned())
        .collect();
    // One line names a file.
    std::fs::create_dir(dir.path().join("groups")).unwrap();
    std::fs::write(dir.path().join("groups/container-tools.txt"), "crun\n").unwrap();
    // One line of the example names another hub.
    let other = "[[hub]]\nname = 'builder'\nserver = 'https://builder.example.org/kojihub'\ntopurl = '/mnt/builder'";
    std::fs::write(&path, format!("{}\n{other}", all.join("\n"))).unwrap();
    Config::load(&path).unwrap();
}

#[test]
fn every_key_is_there_once_and_explained() {
    let keys = keys();
    let mut missing = keys.clone();
    for line in lines() {
        let at = format!("[{}] {}", line.table, line.key);
        let table = missing.get_mut(line.table.as_str()).unwrap_or_else(|| panic!("{at}: no such table"));
        assert!(table.remove(&line.key).is_some(), "{at}: there is no such key, or it is there twice");
        assert!(line.explained, "{at} is not explained");
    }
    missing.retain(|_, table| !table.is_empty());
    assert!(missing.is_empty(), "keys that are not in deploy/koschei.toml: {missing:?}");
}

#[test]
fn defaults_are_what_it_says() {
    let keys = keys();
    for line in lines() {
        let at = format!("[{}] {}", line.table, line.key);
        let default = &keys[line.table.as_str()][&line.key];
        match &line.says {
            Says::NoDefault => assert_eq!(*default, Value::Null, "{at} has a default"),
            Says::Other(said) => {
                assert_eq!(default, said, "{at}");
                assert_ne!(&line.value, said, "{at} is the default; comment it out");
            }
            Says::Default => {
                assert!(!line.active, "{at} is the default; comment it out, or say what the default is");
                assert_eq!(*default, line.value, "{at}");
            }
        }
    }
}

#[test]
fn it_fits_the_unit() {
    let text = text();
    assert!(text.contains("/etc/koschei/koschei.toml"));
    let config = Config::load(&file("koschei.toml")).unwrap();
    // The unit's `CacheDirectory` and `LoadCredential`.
    assert!(config.serve.cache_dir.starts_with("/var/cache/koschei"), "{}", config.serve.cache_dir.display());
    let hub = &config.hubs[0];
    let files = [&hub.cert, &hub.key, &config.bus.cert, &config.bus.key];
    for path in files.into_iter().flatten() {
        assert!(path.starts_with("/run/credentials/koschei.service"), "{}", path.display());
    }
}
