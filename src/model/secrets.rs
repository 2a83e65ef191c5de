//! Removes passwords from addresses, for messages.

/// Words in the names of parameters whose values are secret.
const SECRET: [&str; 5] = ["pass", "pwd", "secret", "token", "credential"];
/// Schemes for which a user name without a password is a token.
const OF_NATS: [&str; 2] = ["nats://", "tls://"];
/// Text that replaces a secret.
const HIDDEN: &str = "…";

/// Returns the address without its password, whether it is in `//USER:PASSWORD@HOST` or in
/// `?password=PASSWORD`. If the address is not well-formed, rather too much is removed than too
/// little. A text without `@` and without such a parameter stays as it is.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = split(url);
    if scheme.is_empty() {
        return url.to_owned();
    }
    let rest = without_values(rest);
    // A password may contain `@`, `/` and `?` unencoded, but no host does.
    match rest.rsplit_once('@') {
        // NATS accepts a token in place of a user.
        Some((_, host)) if OF_NATS.contains(&scheme) => format!("{scheme}{host}"),
        Some((user, host)) => {
            let user = user.split([':', '/', '?', '#', '&']).next().unwrap_or_default();
            format!("{scheme}{user}@{host}")
        }
        None => format!("{scheme}{rest}"),
    }
}

/// Removes the values of secret parameters.
fn without_values(rest: &str) -> String {
    let Some((before, query)) = rest.split_once('?') else { return rest.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if is_secret(key) => format!("{key}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Returns whether an address contains a password. It must then not be shown, or passed where
/// everybody on the machine sees it.
pub fn holds_password(url: &str) -> bool {
    let (scheme, rest) = split(url);
    if scheme.is_empty() {
        return false;
    }
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    let login = user.and_then(|user| user.split_once(':'));
    let token = user.is_some_and(|user| !user.contains(':')) && OF_NATS.contains(&scheme);
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    token
        || login.is_some_and(|(_, password)| !password.is_empty())
        || query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(key, value)| is_secret(key) && !value.is_empty())
}

/// Splits an address into the scheme, including its end mark, and the rest.
fn split(url: &str) -> (&str, &str) {
    let end = url.find("://").map(|at| at + 3).or_else(|| url.find(':').filter(|_| url.contains('@')).map(|at| at + 1));
    url.split_at(end.unwrap_or(0))
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("postgres://koschei:s3cret@db/koschei", "postgres://koschei@db/koschei")]
    #[case("postgres://koschei@db/koschei", "postgres://koschei@db/koschei")]
    #[case(
        "postgres://db/koschei?user=k&password=s3cret&sslmode=require",
        "postgres://db/koschei?user=k&password=…&sslmode=require"
    )]
    #[case("postgres://k:s3@cret@db/koschei?PASSWORD=s3cret", "postgres://k@db/koschei?PASSWORD=…")]
    #[case("postgres://k:s3?cr/et@db/koschei", "postgres://k@db/koschei")]
    #[case("postgres://db/k?password=s3@cret", "postgres://db/k?password=…")]
    #[case("postgres:k:s3cret@db/koschei", "postgres:k@db/koschei")]
    #[case("nats://s3cret@host", "nats://host")]
    #[case("amqps://k:s3cret@mq/%2F?auth_token=s3cret", "amqps://k@mq/%2F?auth_token=…")]
    #[case("/var/lib/koschei@home/koschei.db", "/var/lib/koschei@home/koschei.db")]
    #[case("koschei.db", "koschei.db")]
    fn no_password_is_shown(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(shown(url), expected);
    }

    #[rstest]
    #[case("postgres://koschei:s3cret@db/koschei", true)]
    #[case("postgres://db/koschei?sslpassword=s3cret", true)]
    #[case("amqps://koschei:@mq/x", false)]
    #[case("postgres://koschei@db:5432/koschei", false)]
    #[case("postgres://koschei@db/koschei?host=/run/a:b", false)]
    #[case("https://koji.example.org/koji", false)]
    #[case("nats://token@nats.example.org", true)]
    #[case("nats://nats.example.org:4222", false)]
    #[case("12:ab@c", false)]
    #[case("koschei.db", false)]
    fn a_password_is_known(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(holds_password(url), expected);
    }
}
