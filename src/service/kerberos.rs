//! Where the system's Kerberos library finds keytab and tickets: in the environment, as the process began.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{StartError, live_hub};
use crate::config::Config;
use crate::koji::Auth;
use crate::koji::login::gssapi_environment;

/// Set in a process that was begun again, so that this happens once whatever comes of it.
const BEGUN_AGAIN: &str = "KOSCHEI_KERBEROS_ENVIRONMENT";

/// Sees to it that what the configuration says of keytabs and tickets stands in the environment. The library reads it
/// from there only, and changing the environment of a process that has threads is not safe: so the program begins
/// again, in the same process, with the right one. Call it before anything is opened.
///
/// # Errors
/// Rejected: hubs with different keytabs or ticket caches, of which a process can have one; or the program cannot begin
/// again.
pub(crate) fn settle(config: &Config) -> Result<(), StartError> {
    let mut wanted: BTreeMap<&'static str, (String, String)> = BTreeMap::new();
    for hub in &config.hubs {
        // What else may be wrong with the settings is said by who uses them.
        let Ok(settings) = live_hub::settings(hub) else { continue };
        if let Auth::Gssapi { keytab: Some(keytab), .. } = &settings.auth {
            // It may be given as `FILE:PATH`, as Kerberos has it.
            let path = keytab.to_str().and_then(|k| k.strip_prefix("FILE:")).map_or(keytab.as_path(), Path::new);
            File::open(path).map_err(|e| {
                StartError::Rejected(format!("use hub `{}`: read keytab {}: {e}", hub.name, path.display()))
            })?;
        }
        for (name, place) in gssapi_environment(&settings.auth) {
            match wanted.get(name) {
                Some((other, of)) if *other != place => {
                    return Err(StartError::Rejected(format!(
                        "use hub `{}`: it wants {name}={place}, hub `{of}` wants {name}={other}, and a process has \
                         only one; put the keys of both into one keytab, or run a service for each",
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
    Err(StartError::Rejected(format!("begin again with the keytab in the environment: {error}")))
}
