//! Addresses of NATS servers, and how to log in.
//!
//! The client does not read a login from an address, so this module does. One login is used for all
//! servers of a cluster, including those that the first server names. Addresses with different
//! logins are therefore refused.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;

use super::JetStreamError;
use crate::base::secret;

/// How to reach the server.
#[derive(Clone, Default)]
pub struct Server {
    /// Addresses separated by commas, such as `nats://nats.example.org:4222`,
    /// `tls://user:password@host` or `nats://token@host`. Characters that RFC 3986 reserves are
    /// written as `%XX` in a login. A login never appears in errors.
    pub url: String,
    /// How to log in if the address does not say.
    pub login: Login,
    /// File with certificates to trust (PEM), in addition to the system's.
    pub root_certificates: Option<PathBuf>,
    /// Files with our certificate and its key (PEM), if the server requires one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// A login that is kept in files, so that the list of processes does not show it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Login {
    /// No login, or the one in the address.
    #[default]
    InAddress,
    /// A user, and the file whose first line is the password.
    User(String, PathBuf),
    /// The file whose first line is a token.
    Token(PathBuf),
    /// A file with credentials (`.creds`): a user's JWT and key.
    Credentials(PathBuf),
}

/// The login before the `@` of an address.
#[derive(Clone, PartialEq, Eq)]
enum UrlLogin {
    User(String, String),
    Token(String),
}

impl Server {
    /// Returns the addresses without logins.
    pub fn shown(&self) -> String {
        self.addresses().map(|a| bare(a).0).collect::<Vec<_>>().join(",")
    }

    /// Returns the addresses without logins one by one, for the client.
    pub(super) fn bare(&self) -> Vec<String> {
        self.addresses().map(|a| bare(a).0).collect()
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.url.split(',').map(str::trim)
    }

    /// Adds the login to the client's options.
    pub(super) async fn log_in(&self, options: ConnectOptions) -> Result<ConnectOptions, JetStreamError> {
        match (self.said()?, &self.login) {
            (None, Login::InAddress) => Ok(options),
            (Some(UrlLogin::User(user, password)), Login::InAddress) => Ok(options.user_and_password(user, password)),
            (Some(UrlLogin::Token(token)), Login::InAddress) => Ok(options.token(token)),
            (Some(_), _) => {
                Err(self.login_error("the address has a login, and the options give another one; give only one"))
            }
            (None, Login::User(user, file)) => Ok(options.user_and_password(user.clone(), first_line(file)?)),
            (None, Login::Token(file)) => Ok(options.token(first_line(file)?)),
            (None, Login::Credentials(file)) => {
                let text = read(file)?;
                options.credentials(&text).map_err(|source| unreadable(file, source))
            }
        }
    }

    /// Returns the login in the addresses, if any has one.
    fn said(&self) -> Result<Option<UrlLogin>, JetStreamError> {
        let mut all = None;
        for login in self.addresses().filter_map(|a| bare(a).1) {
            let text = |part: &str| {
                decoded(part).ok_or_else(|| {
                    self.login_error("its login has a `%` that is not followed by two hexadecimal digits of UTF-8")
                })
            };
            let said = match login.split_once(':') {
                Some((user, password)) => UrlLogin::User(text(user)?, text(password)?),
                None => UrlLogin::Token(text(login)?),
            };
            if all.get_or_insert_with(|| said.clone()) != &said {
                return Err(
                    self.login_error("its addresses have different logins, but all servers of a cluster use one")
                );
            }
        }
        Ok(all)
    }

    fn login_error(&self, why: &'static str) -> JetStreamError {
        JetStreamError::Login { url: self.shown(), why: why.to_owned() }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.shown()).finish_non_exhaustive()
    }
}

/// Splits an address into the address without its login and the login.
fn bare(address: &str) -> (String, Option<&str>) {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    match rest.rsplit_once('@') {
        Some((login, host)) => (format!("{scheme}{host}"), Some(login)),
        None => (address.to_owned(), None),
    }
}

/// Decodes text in which `%XX` stands for a byte.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let digits = rest.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
                rest = &rest[2..];
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn first_line(path: &Path) -> Result<String, JetStreamError> {
    secret::first_line(path).map_err(|e| unreadable(path, e))
}

fn read(path: &Path) -> Result<String, JetStreamError> {
    secret::of_file(path).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, source: std::io::Error) -> JetStreamError {
    JetStreamError::Secret { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn server(url: &str) -> Server {
        Server { url: url.to_owned(), ..Server::default() }
    }

    #[rstest]
    #[case("nats://a:4222", "nats://a:4222")]
    #[case("nats://me:secret@a:4222, tls://me:sec@ret@b", "nats://a:4222,tls://b")]
    #[case("me:secret@a", "a")]
    #[case("nats://secret@a", "nats://a")]
    fn passwords_are_not_shown(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(server(url).shown(), shown);
        assert!(!format!("{:?}", server(url)).contains("sec"));
    }

    #[rstest]
    #[case("nats://a,b:4222", None)]
    #[case("nats://me:p%40s%3As@a", Some(UrlLogin::User("me".into(), "p@s:s".into())))]
    #[case("nats://me:pw@a,nats://me:pw@b", Some(UrlLogin::User("me".into(), "pw".into())))]
    #[case("nats://me:pw@a,nats://b", Some(UrlLogin::User("me".into(), "pw".into())))]
    #[case("tok%c3%a9n@a", Some(UrlLogin::Token("tokén".into())))]
    fn a_login_is_read_from_the_address(#[case] url: &str, #[case] login: Option<UrlLogin>) {
        assert!(server(url).said().is_ok_and(|said| said == login));
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_without_the_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let both = Server { login: Login::Token(file.path().into()), ..server("nats://me:secret@a") };
        let empty = Server { login: Login::Token(file.path().into()), ..server("nats://a") };
        let none = Server { login: Login::Credentials("/none/secret".into()), ..server("nats://a") };
        for (server, said) in [
            (server("nats://me:secret@a,nats://me:secret2@b"), "different logins"),
            (server("nats://me:%zzsecret@a"), "`%`"),
            (both, "the options give another one"),
            (empty, "read login"),
            (none, "read login /none/secret"),
        ] {
            let Err(error) = server.log_in(ConnectOptions::new()).await else { panic!("{said}") };
            let text = error.to_string();
            assert!(text.contains(said), "{text}");
            assert!(!text.contains("me:") && !text.contains("zzsecret"), "{text}");
            assert_eq!(crate::model::Classified::class(&error), crate::model::Class::Rejected);
        }
    }
}
