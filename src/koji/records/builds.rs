//! Real builds.

use crate::koji::shape::{Fields, FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::koji::BuildState;
use crate::model::{BuildId, Name, Nvr, TaskId, Timestamp};

record! {
    /// A build. Source: `getBuild`, `listTagged`.
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
        /// When the record was made.
        created: Option<Timestamp> = "creation_ts" | "creation_time";
        /// When it ended.
        completed: Option<Timestamp> = "completion_ts" | "completion_time";
    }
}

impl Build {
    /// Name, version, release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

/// A build in a tag. Source: `listTagged`, in inheritance order, within a tag newest tagging first.
#[derive(Clone, PartialEq, Debug)]
pub struct TaggedBuild {
    /// The build.
    pub build: Build,
    /// Koji event of the tagging; hubs say so since 1.23.
    pub tagged_event: Option<i64>,
    /// Koji event of the build record.
    pub creation_event: Option<i64>,
}

impl FromValue for TaggedBuild {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let fields = Fields::of(value)?;
        Ok(Self {
            build: Build::from_value(value)?,
            tagged_event: fields.take("create_event")?,
            creation_event: fields.take("creation_event_id")?,
        })
    }
}
