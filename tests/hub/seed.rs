//! The initial content of every hub.

use super::fault::Fault;
use super::rows::Channel;
use super::tx::Tx;

/// Adds the administrator, kojira, a service user, two packagers, a builder, and Koji's channels.
pub fn basics(tx: &mut Tx<'_>) -> Result<(), Fault> {
    for name in ["kojiadmin", "kojira", "koschei", "alice", "bob"] {
        tx.create_user(name, 0)?;
    }
    for user in ["kojiadmin", "kojira", "koschei", "alice", "bob"] {
        let id = tx.user_id(user)?;
        tx.w.user_mut(id).principal = Some(format!("{user}@LAB.TEST"));
    }
    tx.grant("kojiadmin", "admin")?;
    tx.grant("kojira", "repo")?;
    let channels = ["default", "createrepo", "maven", "livecd", "appliance", "vm", "image", "livemedia"];
    for (id, name) in (1..).zip(channels) {
        tx.w.channels.rows().push(Channel { id, name: name.to_owned(), enabled: true });
    }
    tx.add_host("kojibuilder1.lab.test", "x86_64 aarch64", 20.0)?;
    Ok(())
}
