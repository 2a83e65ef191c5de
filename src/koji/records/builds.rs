//! Real builds.

use std::collections::BTreeMap;

use crate::koji::shape::record;
use crate::koji::xmlrpc::Value;
use crate::model::koji::BuildState;
use crate::model::{BuildId, Name, Nvr, TagId, TaskId, Timestamp};

record! {
    /// A build in a tag. Source: `listTagged`, in inheritance order, within a tag newest tagging first.
    TaggedBuild {
        /// The build.
        build_id: BuildId = "build_id" | "id";
        /// Source package name.
        name: Name = "package_name" | "name";
        /// Version.
        version: Name = "version";
        /// Release.
        release: Name = "release";
        /// Epoch, where not zero.
        epoch: Option<u32> = "epoch";
        /// Its state.
        state: BuildState = "state";
        /// The tag it is really in.
        tag_id: TagId = "tag_id";
        /// Its name.
        tag_name: Name = "tag_name";
        /// Koji event of the tagging; hubs say so since 1.23.
        tagged_event: Option<i64> = "create_event";
        /// Koji event of the build record.
        creation_event: Option<i64> = "creation_event_id";
        /// The task that built it; absent for imports.
        task_id: Option<TaskId> = "task_id";
        /// Who built it.
        owner_name: Option<Name> = "owner_name";
        /// When the record was made.
        created: Option<Timestamp> = "creation_ts" | "creation_time";
        /// When the build began.
        started: Option<Timestamp> = "start_ts" | "start_time";
        /// When it was complete.
        completed: Option<Timestamp> = "completion_ts" | "completion_time";
        /// Where its files are: `DEFAULT`, or `vol/NAME` under the top directory.
        volume: Option<Name> = "volume_name";
        /// Whether it is a draft.
        draft: bool = "draft";
    }
}

impl TaggedBuild {
    /// Name, version, release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

record! {
    /// A build. Source: `getBuild`, `listBuilds`.
    Build {
        /// The build; the same number when a failed one is tried again.
        build_id: BuildId = "build_id" | "id";
        /// Source package name.
        name: Name = "package_name" | "name";
        /// Version.
        version: Name = "version";
        /// Release.
        release: Name = "release";
        /// Epoch, where not zero.
        epoch: Option<u32> = "epoch";
        /// Its state.
        state: BuildState = "state";
        /// Its task; absent for imports.
        task_id: Option<TaskId> = "task_id";
        /// Who built it.
        owner_name: Option<Name> = "owner_name";
        /// Where its source came from, as it was given.
        source: Option<String> = "source";
        /// Koji event of the record.
        creation_event: Option<i64> = "creation_event_id";
        /// When the record was made.
        created: Option<Timestamp> = "creation_ts" | "creation_time";
        /// When the build began.
        started: Option<Timestamp> = "start_ts" | "start_time";
        /// When it ended.
        completed: Option<Timestamp> = "completion_ts" | "completion_time";
        /// Where its files are.
        volume: Option<Name> = "volume_name";
        /// Whether it is a draft.
        draft: bool = "draft";
        /// What builders and submitters put in, `custom_user_metadata` among it.
        extra: Option<BTreeMap<String, Value>> = "extra";
    }
}

impl Build {
    /// Name, version, release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}
