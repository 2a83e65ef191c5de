//! Tells the system's Kerberos library where keytab and tickets are: in the environment, at the
//! start of the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{StartError, live_hub};
use crate::config::Config;
use crate::koji::Auth;
use crate::koji::login::gssapi_environment;

/// Marks a process that was restarted, so that it restarts only once.
const BEGUN_AGAIN: &str = "KOSCHEI_KERBEROS_ENVIRONMENT";

/// Puts the keytab and the ticket cache of the configuration into the environment, the only place
/// where the Kerberos library reads them. Changing the environment of a process that has threads is
/// not safe, so the program restarts in the same process with the right environment. Call this
/// before anything is opened.
///
/// # Errors
/// Rejected: hubs have different keytabs or ticket caches, but a process can have only one; or the
/// program cannot restart.
pub(crate) fn settle(config: &Config) -> Result<(), StartError> {
    let mut wanted: BTreeMap<&'static str, (String, String)> = BTreeMap::new();
    for hub in &config.hubs {
        // Other mistakes in the settings are reported by their users.
        let Ok(settings) = live_hub::settings(hub) else { continue };
        if let Auth::Gssapi { keytab: Some(keytab), .. } = &settings.auth {
            // A keytab may be written as `FILE:PATH`, as Kerberos does.
            let path = keytab.to_str().and_then(|k| k.strip_prefix("FILE:")).map_or(keytab.as_path(), Path::new);
            File::open(path).map_err(|e| {
                StartError::Rejected(format!("use hub `{}`: read keytab {}: {e}", hub.name, path.display()))
            })?;
        }
        for (name, place) in gssapi_environment(&settings.auth) {
            match wanted.get(name) {
                Some((other, of)) if *other != place => {
                    return Err(StartError::Rejected(format!(
                        "use hub `{}`: it needs {name}={place}, but hub `{of}` needs {name}={other}, and a process \
                            has only one; put both keys into one keytab, or run one service per hub",
                        hub.name
                    )));
                }
                _ => drop(wanted.insert(name, (place, hub.name.to_string()))),
            }
        }
    }
    let same = |is: &str, wanted: &str| {
        is.strip_prefix("FILE:").unwrap_or(is) == wanted.strip_prefix("FILE:").unwrap_or(wanted)
    };
    let differs =
        |(name, (place, _)): (&&str, &(String, String))| !std::env::var(name).is_ok_and(|is| same(&is, place));
    if !wanted.iter().any(differs) || std::env::var_os(BEGUN_AGAIN).is_some() {
        return Ok(());
    }
    let program =
        std::env::current_exe().map_err(|e| StartError::Rejected(format!("find the program's own file: {e}")))?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env(BEGUN_AGAIN, "1");
    again.envs(wanted.into_iter().map(|(name, (place, _))| (name, place)));
    let error = again.exec();
    Err(StartError::Rejected(format!("restart with the keytab in the environment: {error}")))
}
