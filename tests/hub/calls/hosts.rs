//! Calls about builders, channels and events.

use super::super::fault::Fault;
use super::super::rows::Host;
use super::super::tx::Tx;
use super::super::value::{V, row, time, ts};
use super::super::world::World;
use super::common::*;
use super::{Args, Entry, entries};

pub static CALLS: &[Entry] = entries! {
    "listHosts" as "RootExports.listHosts": "arches= channelID= ready= enabled= userID= queryOpts=" => list_hosts;
    "getHost" as "get_host": "hostInfo strict= event=" => |tx, args| {
        let info = args.get("hostInfo");
        match host_of(tx.w, info) {
            Some(host) => Ok(record(host)),
            None if args.truth("strict") => Err(Fault::generic(format!("No such host: {}", repr(info)))),
            None => Ok(V::Nil),
        }
    };
    "getLastHostUpdate" as "RootExports.getLastHostUpdate": "hostID ts=" => |tx, args| {
        let update = args.int("hostID").and_then(|h| tx.w.host(h)).map(|h| h.update);
        Ok(if args.truth("ts") { update.map(ts).into() } else { update.map(time).into() })
    };
    "getAllArches" as "RootExports.getAllArches": "" => |tx, _| {
        let mut arches: Vec<&str> = Vec::new();
        for host in tx.w.hosts.iter().filter(|h| h.enabled) {
            for arch in host.arches.split_whitespace() {
                let arch = if matches!(arch, "i486" | "i586" | "i686" | "athlon") { "i386" } else { arch };
                if !arches.contains(&arch) {
                    arches.push(arch);
                }
            }
        }
        Ok(V::Array(arches.into_iter().map(V::from).collect()))
    };
    "listChannels" as "RootExports.listChannels": "hostID= event= enabled=" => |tx, args| {
        let w = &*tx.w;
        let host = if args.has("hostID") { Some(host_of(w, args.get("hostID")).map_or(-1, |h| h.id)) } else { None };
        let takes = |h: i64, c: i64| w.host_channels.iter().any(|m| m.host == h && m.channel == c && m.ver.holds(None));
        let wanted = |enabled: bool| !args.has("enabled") || enabled == args.truth("enabled");
        let rows = w.channels.iter().filter(|c| host.is_none_or(|h| takes(h, c.id)) && wanted(c.enabled));
        Ok(V::Array(rows.map(|c| channel(c.id, &c.name, c.enabled)).collect()))
    };
    "getChannel" as "get_channel": "channelInfo strict=" => |tx, args| {
        let info = args.get("channelInfo");
        let found = tx.w.channels.iter().find(|c| V::Int(c.id) == *info || V::from(&c.name) == *info);
        match found {
            Some(c) => Ok(channel(c.id, &c.name, c.enabled)),
            None if args.truth("strict") => {
                Err(Fault::generic(format!("No such channel: {}", repr(info).trim_matches('\''))))
            }
            None => Ok(V::Nil),
        }
    };
    "getLastEvent" as "RootExports.getLastEvent": "before= strict=" => |tx, args| {
        let before = args.time("before");
        let event = tx.w.events.iter().rev().find(|e| before.is_none_or(|b| e.at < b));
        Ok(event.map_or(V::Nil, |e| row! { "id" => e.id, "ts" => ts(e.at) }))
    };
    "getEvent" as "RootExports.getEvent": "id" => |tx, args| {
        let id = args.int("id").unwrap_or(-1);
        Ok(tx.w.event_at(id).map_or(V::Nil, |at| row! { "id" => id, "ts" => ts(at) }))
    };
};

fn channel(id: i64, name: &str, enabled: bool) -> V {
    row! { "comment" => V::Nil, "description" => V::Nil, "enabled" => enabled, "id" => id, "name" => name }
}

fn host_of<'a>(w: &'a World, info: &V) -> Option<&'a Host> {
    match info {
        V::Int(id) => w.host(*id),
        V::Text(name) => w.hosts.iter().find(|h| h.name == *name),
        _ => None,
    }
}

fn record(host: &Host) -> V {
    row! {
        "arches" => &host.arches, "capacity" => host.capacity, "comment" => host.comment.as_ref(),
        "description" => host.description.as_ref(), "enabled" => host.enabled, "id" => host.id, "name" => &host.name,
        "ready" => host.ready, "task_load" => host.task_load, "update_ts" => ts(host.update), "user_id" => host.user,
    }
}

fn list_hosts(tx: &mut Tx<'_>, args: &Args) -> Result<V, Fault> {
    let w = &*tx.w;
    let arches = list(args.get("arches"));
    let channel = match args.get("channelID") {
        V::Nil => None,
        V::Int(id) => Some(*id),
        other => Some(w.channels.iter().find(|c| other.as_str() == Some(&c.name)).map_or(-1, |c| c.id)),
    };
    let fits = |h: &&Host| {
        arches.as_ref().is_none_or(|wanted| h.arches.split_whitespace().any(|a| wanted.contains(&V::from(a))))
            && channel
                .is_none_or(|c| w.host_channels.iter().any(|m| m.host == h.id && m.channel == c && m.ver.holds(None)))
            && (!args.has("ready") || h.ready == args.truth("ready"))
            && (!args.has("enabled") || h.enabled == args.truth("enabled"))
            && (!args.has("userID") || V::Int(h.user) == *args.get("userID"))
    };
    Ok(query(w.hosts.iter().filter(fits).map(record).collect(), args.get("queryOpts")))
}
