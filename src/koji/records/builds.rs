//! Records of real builds.

use crate::koji::shape::{Fields, FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::koji::BuildState;
use crate::model::{BuildId, Name, Nvr, TaskId, Timestamp};

record! {
    /// A build. Source: `getBuild`, `listTagged`.
    Build {
        /// Build number. A failed build that is tried again keeps its number.
        build_id: BuildId = "build_id" | "id";
        /// Source package name.
        name: Name = "package_name" | "name";
        /// Version.
        version: Name = "version";
        /// Release.
        release: Name = "release";
        /// Epoch, if there is one. It may be 0.
        epoch: Option<u32> = "epoch";
        /// State of the build.
        state: BuildState = "state";
        /// The build's task. Absent for imports.
        task_id: Option<TaskId> = "task_id";
        /// When the build's record was made.
        created: Option<Timestamp> = "creation_ts" | "creation_time";
        /// When the build ended.
        completed: Option<Timestamp> = "completion_ts" | "completion_time";
    }
}

impl Build {
    /// Returns name, version and release.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

/// A build in a tag. Source: `listTagged`, in inheritance order, and within a tag newest tagging
/// first.
#[derive(Clone, PartialEq, Debug)]
pub struct TaggedBuild {
    /// The build.
    pub build: Build,
    /// Koji event of the tagging. Hubs from 1.23 on return it.
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
