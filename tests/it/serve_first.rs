//! The service on a small hub: what it finds there, and what it makes of it.

use koschei::model::PackageState;

use crate::hub::{Hub, Inherit, NewBuild};
use crate::live::Live;

const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// A distribution of a few packages: a build group, a library, and packages that need it.
pub(crate) fn small(hub: &Hub) {
    hub.change(|tx| {
        tx.create_tag("f99", "")?;
        tx.create_tag("f99-build", "x86_64 aarch64")?;
        tx.add_inheritance("f99-build", "f99", Inherit::default())?;
        tx.create_target("f99", "f99-build", "f99")?;
        tx.add_group_packages("f99-build", "build", &["bash", "make"])?;
        let builds = [
            NewBuild::new("bash-5.2-1.fc99").binary("bash", &ARCHES, &[]),
            NewBuild::new("make-4.4-1.fc99").binary("make", &ARCHES, &["bash"]),
            NewBuild::new("libfoo-1.0-1.fc99")
                .build_requires(&["make"])
                .binary_with("libfoo", &ARCHES, &["libfoo.so.1"], &[])
                .binary("libfoo-devel", &ARCHES, &["libfoo"]),
            NewBuild::new("app-1.0-1.fc99").build_requires(&["libfoo-devel", "make"]).binary(
                "app",
                &ARCHES,
                &["libfoo.so.1"],
            ),
            NewBuild::new("lone-1.0-1.fc99").build_requires(&["nobody-has-this"]).binary("lone", &ARCHES, &[]),
        ];
        for build in &builds {
            tx.package_list_add("f99", &build.name, "alice")?;
            tx.import_build(build)?;
            tx.tag_build("f99", &build.nvr(), false)?;
        }
        Ok(())
    });
    hub.change(|tx| tx.new_repo("f99-build"));
    hub.take_messages();
}

pub(crate) const COLLECTION: &str = r#"
[[collection]]
name = "f99"
target = "f99"
track_all = true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn finds_what_is_there_and_rebuilds_it() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let _builders = live.hub.start_builders(std::time::Duration::from_millis(20));
    let state = live
        .wait("everything is rebuilt", |s| {
            let of = |name: &str| Some(s.package("f99", name)?.state(true));
            ["bash", "make", "libfoo", "app"].iter().all(|p| of(p) == Some(PackageState::Ok))
                && of("lone") == Some(PackageState::Unresolved)
        })
        .await;
    assert_eq!(state.collections["f99"].packages.len(), 5);
    let dump = live.hub.dump();
    assert_eq!(dump.tasks.len(), 4, "one task for each that can be built: {:?}", dump.tasks);
    assert!(dump.tasks.iter().all(|t| t.scratch && t.owner == "koschei" && t.repo.is_some()), "{:?}", dump.tasks);
    live.stop();
}
