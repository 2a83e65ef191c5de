//! What is kept of a resolution serves the next one of the same collection.

use std::path::Path;

use super::*;
use crate::buildroot::repo_resolver::OwnSources;
use crate::repodata::{Limits, SourcePackage as Known};

/// A recorded repository. Each source package requires what every repository has.
#[derive(Debug)]
struct Recorded(StoredRepo);

impl RepoStore for Recorded {
    fn dir(&self) -> &Path {
        &self.0.dir
    }

    fn repo(&self, _: &Hub, _: &str, _: RepoId) -> Result<Option<StoredRepo>, String> {
        Ok(Some(self.0.clone()))
    }

    fn source(&self, nvr: &Nvr) -> Option<Arc<Known>> {
        let (requires, conflicts) = (vec!["bash".to_owned()], Some(Vec::new()));
        let (epoch, made_on) = (None, None);
        let (buildarchs, exclusivearch, excludearch) = Default::default();
        let nvr = nvr.clone();
        Some(Arc::new(Known { nvr, epoch, requires, conflicts, buildarchs, exclusivearch, excludearch, made_on }))
    }

    fn observations(&self) -> Vec<Event> {
        Vec::new()
    }

    fn known_packages(&self) -> KnownPackages {
        KnownPackages::new(Limits::default(), [1, 2, 3, 4])
    }
}

/// Two collections use one tag with other groups. Each finds its own answers again, in any order.
#[test]
fn collections_on_one_tag_do_not_take_each_others_answers() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/koji/repos/f99-build/10");
    let found = StoredRepo { dir, create_event: None, arches: vec!["x86_64".into()] };
    let resolver = ArchiveResolver::new(Recorded(found.clone()), Mode::Two, 1);
    let (hub, own) = (Hub::new("primary"), OwnSources::default());
    let reused = |collection: &str, group: &str| {
        let (tag, repo, arch, own, options) = ("f99-build", RepoId(10), "x86_64", &own, ResolveOptions::default());
        let unit = Unit { collection, hub: &hub, tag, repo, arch, group, own, options };
        let loaded = resolver.read(&found, &unit).unwrap();
        let prepared = loaded.prepare(Mode::Two).unwrap();
        let first = resolver.answering.first(&loaded, &prepared);
        let work = first.answers.work();
        (work.questions, work.reused)
    };
    assert_eq!(reused("f99", "build"), (1, 0));
    assert_eq!(reused("sources", "srpm-build"), (1, 0));
    for _ in 0..2 {
        assert_eq!(reused("f99", "build"), (1, 1));
        assert_eq!(reused("sources", "srpm-build"), (1, 1));
    }
}
