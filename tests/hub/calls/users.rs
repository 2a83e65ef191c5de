//! Calls about the hub itself, users and sessions.

use super::super::fault::Fault;
use super::super::rows::User;
use super::super::tx::Tx;
use super::super::value::{V, row, time, ts};
use super::common::{push_time, repr, user_of};
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "getAPIVersion" as "getAPIVersion": "" => |_, _| Ok(V::Int(1));
    "getKojiVersion" as "getKojiVersion": "" => |tx, _| Ok(tx.settings.version.as_str().into());
    "mavenEnabled" as "RootExports.mavenEnabled": "" => |_, _| Ok(false.into());
    "winEnabled" as "RootExports.winEnabled": "" => |_, _| Ok(false.into());
    "hello" as "hello": "*" => |_, _| Ok("Hello World".into());
    "echo" as "echo": "*" => |_, args| Ok(V::Array(args.rest.clone()));
    "system.listMethods" as "listMethods": "" => |_, _| {
        Ok(V::Array(super::methods().into_iter().map(V::from).collect()))
    };
    "getLoggedInUser" as "RootExports.getLoggedInUser": "" => logged_in;
    "showSession" as "RootExports.showSession": "" => |tx, _| Ok(tx.session.map(|s| format!("session {s}")).into());
    "getSessionInfo" as "RootExports.getSessionInfo": "details= user_id=" => session_info;
    "getPerms" as "RootExports.getPerms": "" => |tx, _| { let user = tx.logged_in()?; Ok(perms(tx, user)) };
    "getUserPerms" as "RootExports.getUserPerms": "userID= with_groups= inheritance_data=" => |tx, args| {
        if !args.has("userID") {
            let user = tx.logged_in()?;
            return Ok(perms(tx, user));
        }
        let user = user_of(tx.w, args.get("userID")).map(|u| u.id).ok_or_else(|| no_user(args, "userID"))?;
        Ok(perms(tx, user))
    };
    "hasPerm" as "RootExports.hasPerm": "perm strict=" => |tx, args| {
        Ok(tx.w.has_perm(tx.user, args.text("perm").unwrap_or_default()).into())
    };
    "getAllPerms" as "RootExports.getAllPerms": "" => |tx, _| {
        let all = tx.w.permissions.iter();
        Ok(V::Array(all.map(|p| row! { "id" => p.id, "name" => &p.name, "description" => V::Nil }).collect()))
    };
    "getUser" as "get_user": "userInfo= strict= krb_princs= groups=" => get_user;
    "listUsers" as "RootExports.listUsers": "userType= prefix= queryOpts= perm= inherited_perm=" => |tx, args| {
        let rows = tx.w.users.iter().map(user_record).collect();
        Ok(super::common::query(rows, args.get("queryOpts")))
    };
    "logout" as "logout": "session_id=" => logout;
    "checkUpload" as "HostExports.checkUpload": "path name verify= tail= volume=" => check_upload;
};

fn no_user(args: &Args, name: &str) -> Fault {
    Fault::generic(format!("No such user: {}", repr(args.get(name))))
}

fn perms(tx: &Tx<'_>, user: i64) -> V {
    V::Array(tx.w.user(user).map(|u| u.perms.iter().map(V::from).collect()).unwrap_or_default())
}

pub fn user_record(user: &User) -> V {
    let principals: Vec<V> = user.principal.iter().map(V::from).collect();
    row! {
        "id" => user.id, "name" => &user.name, "status" => user.status, "usertype" => user.usertype,
        "krb_principals" => principals
    }
}

fn get_user(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let found = match args.get("userInfo") {
        V::Nil => tx.w.user(tx.logged_in()?),
        info => user_of(tx.w, info),
    };
    match found {
        Some(user) if args.not_false("krb_princs") => Ok(user_record(user)),
        Some(user) => Ok(user_record(user).without(&["krb_principals"])),
        None if args.truth("strict") => Err(no_user(args, "userInfo")),
        None => Ok(V::Nil),
    }
}

fn logged_in(tx: &mut Tx<'_>, _: &Args) -> Result<V, Fault> {
    let Some(user) = tx.user.and_then(|u| tx.w.user(u)) else { return Ok(V::Nil) };
    let authtype = tx.session.and_then(|s| tx.w.session(s)).map(|s| s.authtype);
    Ok(user_record(user).with("authtype", authtype).with("krb_principal", user.principal.as_ref()))
}

fn session_info(tx: &mut Tx<'_>, _: &Args) -> Result<V, Fault> {
    let Some(session) = tx.session.and_then(|s| tx.w.session(s)) else { return Ok(V::Nil) };
    let mut members = vec![
        ("authtype".to_owned(), session.authtype.into()),
        ("callnum".to_owned(), session.callnum.into()),
        ("exclusive".to_owned(), V::Nil),
        ("expired".to_owned(), session.expired.into()),
        ("master".to_owned(), V::Nil),
    ];
    push_time(&mut members, "renew", session.renew);
    push_time(&mut members, "start", Some(session.start));
    members.push(("update_time".to_owned(), time(session.update).into()));
    members.push(("update_ts".to_owned(), ts(session.update).into()));
    members.push(("user_id".to_owned(), session.user.into()));
    Ok(V::Struct(members))
}

fn logout(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    tx.logged_in()?;
    let id = args.int("session_id").or(tx.session).unwrap_or(0);
    let Some(session) = tx.w.session(id).cloned() else {
        return Err(Fault::generic(format!("Cannot find session with id {id}")));
    };
    if Some(session.user) != tx.user && !tx.is_admin() {
        return Err(Fault::not_allowed("only admins or owner may logout other session"));
    }
    tx.wrote = true;
    tx.w.session_mut(id).closed = true;
    Ok(V::Nil)
}

#[allow(clippy::cast_precision_loss, reason = "a time")]
fn check_upload(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    tx.logged_in()?;
    let path = tx
        .settings
        .topdir
        .join("work")
        .join(args.text("path").unwrap_or_default())
        .join(args.text("name").unwrap_or_default());
    let Ok(data) = std::fs::metadata(path) else { return Ok(V::Nil) };
    let mtime = data.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as f64 / 1e6;
    Ok(row! { "size" => i64::try_from(data.len()).unwrap(), "mtime" => mtime })
}
