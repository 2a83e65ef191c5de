//! Records of tags, targets, and what belongs to a tag.

use crate::koji::shape::{Words, record};
use crate::model::{Name, TagId};

record! {
    /// A tag. `getTag` returns its own settings, `getBuildConfig` includes inherited ones.
    Tag {
        /// Number of the tag. It survives renaming.
        id: TagId = "id";
        /// Name of the tag.
        name: Name = "name";
        /// Architectures, as Koji stores them.
        arches: Option<Words> = "arches";
    }
}

impl Tag {
    /// Returns the tag's architectures. Empty if the tag does not set any.
    pub fn arches(&self) -> &[Name] {
        self.arches.as_ref().map_or(&[], |words| &words.0)
    }
}

record! {
    /// A build target. Source: `getBuildTarget`, `getBuildTargets`.
    Target {
        /// Name of the target.
        name: Name = "name";
        /// Number of the build tag, whose repository is built in.
        build_tag: TagId = "build_tag";
        /// Name of the build tag.
        build_tag_name: Name = "build_tag_name";
        /// Number of the dest tag, which builds go to.
        dest_tag: TagId = "dest_tag";
        /// Name of the dest tag.
        dest_tag_name: Name = "dest_tag_name";
    }
}

record! {
    /// A tag that another tag inherits from. Source: `getInheritanceData` (direct parents),
    /// `getFullInheritance` (all ancestors, in order).
    InheritanceLink {
        /// Name of the inherited tag.
        name: Name = "name";
        /// Priority. Lower comes first.
        priority: i64 = "priority";
        /// How many more levels up are inherited. Absent: no limit.
        max_depth: Option<i64> = "maxdepth";
        /// Whether tags below the child do not inherit from this tag.
        intransitive: bool = "intransitive";
        /// Whether configuration and groups are not inherited.
        no_config: bool = "noconfig";
        /// How many levels up, 1 for direct parents. Only in `getFullInheritance`.
        depth: Option<i64> = "currdepth";
    }
}

record! {
    /// A package or group in a group.
    GroupMember {
        /// Name of the package or group.
        name: Name = "package" | "name";
        /// Kind of member: `mandatory`, `default`, `optional`, `conditional`.
        kind: Option<Name> = "type";
        /// Whether the member is blocked.
        blocked: bool = "blocked";
    }
}

record! {
    /// A group of packages. Source: `getTagGroups`, including inherited groups.
    Group {
        /// Name of the group. `build` is installed for `buildArch`, `srpm-build` for making source
        /// packages.
        name: Name = "name";
        /// Whether the group is blocked.
        blocked: bool = "blocked";
        /// Packages of the group.
        packages: Option<Vec<GroupMember>> = "packagelist";
        /// Groups that this group requires.
        groups: Option<Vec<GroupMember>> = "grouplist";
    }
}

record! {
    /// An external repository of a tag. Source: `getExternalRepoList` (with inheritance, in merge
    /// order), `getTagExternalRepos`.
    ExternalRepo {
        /// Name of the external repository.
        name: Name = "external_repo_name";
        /// URL of the repository. It may contain `$arch`.
        url: String = "url";
        /// Priority. Lower comes first.
        priority: i64 = "priority";
        /// Merge mode: `koji`, `simple` or `bare`. Old hubs do not return it, and mean `koji`.
        merge_mode: Option<Name> = "merge_mode";
        /// Architectures that the repository is limited to. Absent: no limit.
        arches: Option<Words> = "arches";
        /// The tag that the entry belongs to.
        tag_name: Option<Name> = "tag_name";
    }
}

record! {
    /// An entry of a tag's package list. Source: `listPackages`.
    ListedPackage {
        /// Name of the package.
        package_name: Name = "package_name";
        /// Whether the package is blocked, so that its builds do not count.
        blocked: bool = "blocked";
        /// Name of the owner.
        owner_name: Option<String> = "owner_name";
    }
}
