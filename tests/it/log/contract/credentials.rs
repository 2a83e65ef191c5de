//! Sessions and tokens.

use koschei::log::credentials::OF_PERSON_MAX;
use koschei::log::{Credential, CredentialKind, Credentials, EventLog};

use crate::log_place::{Place, at};

fn credential(kind: CredentialKind, id: &str, person: &str, made: i64) -> Credential {
    Credential {
        id: id.to_owned(),
        kind,
        person: person.to_owned(),
        label: "laptop".to_owned(),
        teams: vec!["packager".to_owned(), "a \"team\"".to_owned()],
        scopes: vec!["read".to_owned()],
        made_at: at(made),
        expires_at: at(made + 100),
    }
}

pub(super) async fn credentials(place: Place) {
    use CredentialKind::{Session, Token};
    let log = place.open().await;
    let (one, two) = (credential(Session, "s1", "alice", 1), credential(Token, "t1", "bob", 2));
    log.put_credential(&one, "hash1").await.unwrap();
    log.put_credential(&two, "hash2").await.unwrap();
    log.put_credential(&two, "hash3").await.unwrap_err();
    log.put_credential(&credential(Token, "t2", "bob", 3), "hash2").await.unwrap_err();
    assert_eq!(log.credential(Session, "hash1", at(50)).await.unwrap().as_ref(), Some(&one));
    assert_eq!(log.credential(Session, "hash1", at(101)).await.unwrap(), None, "it has ended");
    assert_eq!(log.credential(Token, "hash1", at(50)).await.unwrap(), None, "a session is no token");
    assert_eq!(log.credential(Session, "hash", at(50)).await.unwrap(), None);
    log.close().await;
    let log = place.open().await;
    assert_eq!(log.credentials(None).await.unwrap(), [one.clone(), two.clone()]);
    assert_eq!(log.credentials(Some("bob")).await.unwrap(), [two]);
    assert!(!log.revoke("s1", Some("bob")).await.unwrap(), "it is another person's");
    assert!(log.revoke("s1", Some("alice")).await.unwrap());
    assert!(!log.revoke("s1", None).await.unwrap());
    assert_eq!(log.credential(Session, "hash1", at(50)).await.unwrap(), None);
    // The oldest of a kind go, and only those.
    for n in 0..OF_PERSON_MAX + 2 {
        let made = i64::try_from(n).unwrap() + 10;
        log.put_credential(&credential(Session, &format!("n{n}"), "bob", made), &format!("n{n}")).await.unwrap();
    }
    let left = log.credentials(Some("bob")).await.unwrap();
    assert_eq!(left.len(), OF_PERSON_MAX + 1);
    assert_eq!((left[0].id.as_str(), left[1].id.as_str()), ("t1", "n2"));
    assert_eq!(log.drop_ended(at(113)).await.unwrap(), 3, "t1, n2 and n3");
    assert_eq!(log.revoke_all("bob").await.unwrap(), 48);
    // Whoever is forgotten has no credentials, even without having been named in an event.
    log.put_credential(&one, "hash1").await.unwrap();
    log.forget_person("alice").await.unwrap();
    assert_eq!(log.credentials(None).await.unwrap(), []);
    log.close().await;
}
