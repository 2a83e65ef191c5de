//! `/account`: who one is, what one may do, one's sessions and tokens.

use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::{go, is_of_session, is_ours};
use super::login::{answer, private};
use super::rights::editors;
use super::who::{By, Identity, Person};
use crate::base::clock;
use crate::base::secret::Secret;
use crate::log::credentials::Scope;
use crate::log::{Credential, CredentialKind, Credentials as _, LogError};
use crate::web::parts::{self, AsOf};
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::{Site, links};

/// Longest life of a token, in days.
pub(super) const TOKEN_DAYS_MAX: i64 = 366;
/// Longest label, in characters.
const LABEL_CHARS_MAX: usize = 100;

pub(super) async fn page(State(site): State<Site>, asked: Asked, who: Identity) -> Response<Body> {
    let Some(person) = who.person() else { return go(&links::with_query("/login", &[("next", "/account")]), &[]) };
    private(shown(&site, &asked, person, None).await)
}

/// `/user/NAME`, as in the original Koschei: the packages of a person.
pub(super) async fn user(Path(name): Path<String>) -> Response<Body> {
    go(&links::with_query("/packages", &[("owner", &name)]), &[])
}

/// Shows the account. `new` is a token that was just made: it is shown once.
async fn shown(site: &Site, asked: &Asked, person: &Person, new: Option<&str>) -> Response<Body> {
    reply(site, asked, async {
        asked.only(&[])?;
        let all = site.log.credentials(Some(&person.name)).await.map_err(LogError::from)?;
        let status = site.follower.status();
        let body = body(site, person, &all, new);
        Ok((AsOf { seq: status.seq, at: status.recorded_at }, Content::Html { title: "Account".to_owned(), body }))
    })
    .await
}

fn body(site: &Site, person: &Person, all: &[Credential], new: Option<&str>) -> Markup {
    let settings = site.people.settings();
    let (mark, own) = match &person.by {
        By::Session { id, form } => (Some(form.as_str()), Some(id.as_str())),
        By::Token { .. } | By::Proxy => (None, None),
    };
    html! {
        h1 { (parts::text(&person.name)) }
        @if let Some(new) = new {
            p.notice role="status" {
                "This is the new token. It is shown only now: " code { (new) }
            }
        }
        dl {
            dt { "Teams" }
            dd { @if person.teams.is_empty() { "none" } @else { (parts::text(&person.teams.join(", "))) } }
            dt { "Administrator" } dd { @if person.is_admin { "yes" } @else { "no" } }
            dt { "You may change" }
            dd {
                @if person.is_admin { "everything" } @else if settings.everybody_edits { "every package" }
                @else { "packages that you own, and groups that you maintain" }
            }
            dt { "A package may be changed by" } dd { (editors(settings.everybody_edits)) }
        }
        p { a href=(links::with_query("/packages", &[("owner", &person.name)])) { "My packages" } }
        @if let Some(mark) = mark {
            form method="post" action="/logout" {
                input type="hidden" name="form" value=(mark); button { "Log out" }
            }
        }
        h2 { "Sessions and tokens" }
        @if all.is_empty() { p { "None." } } @else { div.scroll { table {
            (parts::column_heads(&[("", "Kind"), ("", "Label"), ("", "Scopes"), ("", "Made"), ("", "Ends"), ("", "")]))
            tbody { @for c in all { tr {
                th scope="row" {
                    @match c.kind { CredentialKind::Session => "session", CredentialKind::Token => "token" }
                    @if own == Some(c.id.as_str()) { " (this one)" }
                }
                td { (parts::text(&c.label)) }
                td { (c.scopes.join(", ")) }
                td { (parts::time(c.made_at)) }
                td { (parts::time(c.expires_at)) }
                td { @if let Some(mark) = mark {
                    form method="post" action="/account/revoke" {
                        input type="hidden" name="form" value=(mark); input type="hidden" name="id" value=(c.id);
                        button { "Revoke" }
                    }
                } }
            } } }
        } } }
        @if let Some(mark) = mark {
            h2 { "Make a token" }
            form method="post" action="/account/tokens" {
                input type="hidden" name="form" value=(mark);
                label { "Label " input name="label" maxlength=(LABEL_CHARS_MAX) required; } " "
                label { "For " select name="scope" { @for scope in Scope::ALL { option { (scope.as_str()) } } } } " "
                label { "Days " input type="number" name="days" min="1" max=(TOKEN_DAYS_MAX) value="30"; } " "
                button { "Make" }
            }
            p { code { "read" } " reads. " code { "write" } " also changes packages, as far as you may. "
                code { "admin" }
                " also does everything else that you may. Send it as " code { "Authorization: Bearer TOKEN" } "." }
        }
    }
}

/// What the form for a new token has.
#[derive(Deserialize)]
pub(super) struct NewToken {
    form: String,
    label: String,
    scope: String,
    days: i64,
}

/// `/account/tokens`: makes a token for oneself. Only a session can, so no token makes another one.
pub(super) async fn make_token(
    State(site): State<Site>,
    asked: Asked,
    who: Identity,
    headers: HeaderMap,
    form: Result<Form<NewToken>, FormRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        is_ours(&headers, site.people.settings())?;
        let wanted = form?.0;
        is_of_session(&who, &wanted.form)?;
        let Some(person) = who.person() else { return Err(Refusal::Forbidden("log in first".to_owned())) };
        let Some(scope) = Scope::ALL.into_iter().find(|s| s.as_str() == wanted.scope) else {
            return Err(Refusal::BadRequest(format!("there is no scope `{}`", short(&wanted.scope))));
        };
        if !(1..=TOKEN_DAYS_MAX).contains(&wanted.days) || wanted.label.chars().count() > LABEL_CHARS_MAX {
            let why = format!(
                "a token lasts 1 to {TOKEN_DAYS_MAX} days, and has a label of at most {LABEL_CHARS_MAX} \
                characters"
            );
            return Err(Refusal::BadRequest(why));
        }
        let (now, secret) = (clock::now(), Secret::draw());
        let scopes = Scope::ALL.into_iter().filter(|s| *s <= scope).map(|s| s.as_str().to_owned());
        let token = Credential {
            id: secret.id.clone(),
            kind: CredentialKind::Token,
            person: person.name.clone(),
            label: wanted.label,
            teams: person.teams.clone(),
            scopes: scopes.collect(),
            made_at: now,
            expires_at: now.plus_secs(wanted.days * 86_400),
        };
        site.log.put_credential(&token, &secret.hash).await.map_err(LogError::from)?;
        Ok(private(shown(&site, &asked, person, Some(&secret.text)).await))
    })
    .await
}

/// What the form that ends a session or token has.
#[derive(Deserialize)]
pub(super) struct Revoked {
    form: String,
    id: String,
}

/// `/account/revoke`: ends one of one's own sessions or tokens.
pub(super) async fn revoke(
    State(site): State<Site>,
    asked: Asked,
    who: Identity,
    headers: HeaderMap,
    form: Result<Form<Revoked>, FormRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        is_ours(&headers, site.people.settings())?;
        let wanted = form?.0;
        is_of_session(&who, &wanted.form)?;
        let name = who.person().map(|p| p.name.clone()).unwrap_or_default();
        match site.log.revoke(&wanted.id, Some(&name)).await.map_err(LogError::from)? {
            true => Ok(go("/account", &[])),
            false => Err(Refusal::not_found("you have no such session or token")),
        }
    })
    .await
}
