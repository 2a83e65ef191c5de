//! Tags, targets, and what belongs to a tag.

use crate::koji::shape::{Words, record};
use crate::model::{Name, TagId};

record! {
    /// A tag. From `getTag` with what is its own, from `getBuildConfig` with what it inherits.
    Tag {
        /// Its number, which survives renaming.
        id: TagId = "id";
        /// Its name.
        name: Name = "name";
        /// Architectures, as they are written there.
        arches: Option<Words> = "arches";
    }
}

impl Tag {
    /// Its architectures; none where it says nothing of them.
    pub fn arches(&self) -> &[Name] {
        self.arches.as_ref().map_or(&[], |words| &words.0)
    }
}

record! {
    /// A build target. Source: `getBuildTarget`, `getBuildTargets`.
    Target {
        /// Its name.
        name: Name = "name";
        /// Tag whose repository is built in.
        build_tag: TagId = "build_tag";
        /// Its name.
        build_tag_name: Name = "build_tag_name";
        /// Tag into which builds go.
        dest_tag: TagId = "dest_tag";
        /// Its name.
        dest_tag_name: Name = "dest_tag_name";
    }
}

record! {
    /// A tag another one inherits from. Source: `getInheritanceData` (direct parents), `getFullInheritance` (all, in
    /// order).
    InheritanceLink {
        /// Its name.
        name: Name = "name";
        /// Lower comes first.
        priority: i64 = "priority";
        /// How many levels further up are inherited as well; no limit when absent.
        max_depth: Option<i64> = "maxdepth";
        /// Whether tags below the child do not inherit it.
        intransitive: bool = "intransitive";
        /// Whether configuration and groups are not inherited.
        no_config: bool = "noconfig";
        /// How far up, 1 for direct parents; only in `getFullInheritance`.
        depth: Option<i64> = "currdepth";
    }
}

record! {
    /// A package or group in a group.
    GroupMember {
        /// Its name.
        name: Name = "package" | "name";
        /// `mandatory`, `default`, `optional`, `conditional`.
        kind: Option<Name> = "type";
        /// Whether it is taken out.
        blocked: bool = "blocked";
    }
}

record! {
    /// A group of packages. Source: `getTagGroups`, inherited ones included.
    Group {
        /// Its name; `build` is installed for `buildArch`, `srpm-build` for making source packages.
        name: Name = "name";
        /// Whether it is taken out.
        blocked: bool = "blocked";
        /// Its packages.
        packages: Option<Vec<GroupMember>> = "packagelist";
        /// Groups it requires.
        groups: Option<Vec<GroupMember>> = "grouplist";
    }
}

record! {
    /// An external repository of a tag. Source: `getExternalRepoList` (effective, in merge order),
    /// `getTagExternalRepos`.
    ExternalRepo {
        /// Its name.
        name: Name = "external_repo_name";
        /// Where it is; may contain `$arch`.
        url: String = "url";
        /// Lower comes first.
        priority: i64 = "priority";
        /// `koji`, `simple`, `bare`; old hubs do not say, and mean `koji`.
        merge_mode: Option<Name> = "merge_mode";
        /// Only for these; for all when absent.
        arches: Option<Words> = "arches";
        /// The tag that has it.
        tag_name: Option<Name> = "tag_name";
    }
}

record! {
    /// An entry of a tag's package list. Source: `listPackages`.
    ListedPackage {
        /// Its name.
        package_name: Name = "package_name";
        /// Whether its builds do not count.
        blocked: bool = "blocked";
    }
}
