//! Converts a hub's records to parts of facts. This is the only place that does so, for live
//! answers and for recorded ones.
//!
//! Names are bounded and architectures split where records are read ([`super::shape`]).

use std::collections::{BTreeMap, BTreeSet};

use super::records::{self, Group, GroupMember, InheritanceLink, Task};
use super::xmlrpc::Fault;
use crate::event::{ChildTask, ExternalRepo, GroupDefinition, Inheritance, TaskFault};
use crate::model::{Name, TaskId};

/// Maximum depth of groups within groups. Comps files have two levels.
const GROUP_DEPTH_MAX: usize = 16;

/// Converts a number that is 32 bits wide in Koji.
fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Returns direct parents in order of precedence.
pub fn inheritance(links: Vec<InheritanceLink>) -> Vec<Inheritance> {
    let direct = links.into_iter().filter(|l| l.depth.is_none_or(|depth| depth == 1));
    let mut parents: Vec<Inheritance> = direct
        .map(|l| Inheritance {
            tag: l.name,
            priority: small(l.priority),
            max_depth: l.max_depth.map(small),
            intransitive: l.intransitive,
            no_config: l.no_config,
        })
        .collect();
    parents.sort_by(|a, b| (a.priority, &a.tag).cmp(&(b.priority, &b.tag)));
    parents
}

/// Converts external repositories in merge order. An empty list of architectures (`''`) means no
/// limit, like nil.
pub fn external_repos(repos: Vec<records::ExternalRepo>) -> Vec<ExternalRepo> {
    let one = |r: records::ExternalRepo| ExternalRepo {
        name: r.name,
        url: r.url,
        priority: small(r.priority),
        // Koji's default if the tag does not set it (`kojihub.add_external_repo_to_tag`).
        merge_mode: r.merge_mode.unwrap_or_else(|| Name::new_static("koji")),
        arches: r.arches.map(|a| a.0).filter(|a| !a.is_empty()),
    };
    repos.into_iter().map(one).collect()
}

/// Converts groups. Each has the packages that are installed, including those of groups it
/// requires, like `comps.xml` of a repository.
pub fn groups(groups: &[Group]) -> Vec<GroupDefinition> {
    let by_name: BTreeMap<&Name, &Group> = groups.iter().filter(|g| !g.blocked).map(|g| (&g.name, g)).collect();
    let definition = |wanted: &&Name| {
        let (mut packages, mut seen) = (BTreeSet::new(), BTreeSet::from([*wanted]));
        let mut todo = vec![(*wanted, 0)];
        while let Some((group, depth)) = todo.pop() {
            let Some(group) = by_name.get(group) else { continue };
            packages.extend(group.packages.iter().flatten().filter(is_installed).map(|m| m.name.clone()));
            for required in group.groups.iter().flatten().filter(|m| !m.blocked) {
                if depth < GROUP_DEPTH_MAX && seen.insert(&required.name) {
                    todo.push((&required.name, depth + 1));
                }
            }
        }
        GroupDefinition { name: (*wanted).clone(), packages: packages.into_iter().collect() }
    };
    by_name.keys().map(definition).collect()
}

fn is_installed(member: &&GroupMember) -> bool {
    !member.blocked && matches!(member.kind.as_deref(), None | Some("mandatory" | "default"))
}

/// Converts why a task failed.
pub fn fault(task: &Task, fault: &Fault) -> TaskFault {
    TaskFault { host: task.host_id, ..TaskFault::new(fault.code, &fault.message) }
}

/// Converts the steps of a task.
pub fn steps(steps: &[Task], faults: &BTreeMap<TaskId, TaskFault>) -> Vec<ChildTask> {
    let step = |t: &Task| ChildTask {
        task_id: t.id,
        method: t.method.clone(),
        label: t.label.clone().or_else(|| t.arch.clone()).unwrap_or_default(),
        state: t.state,
        arch: t.arch.clone(),
        fault: faults.get(&t.id).cloned(),
    };
    steps.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Koji returns `getFullInheritance` in this order, but promises no order for
    /// `getInheritanceData`.
    #[test]
    fn parents_stand_in_the_order_in_which_they_count() {
        let link = |name: &str, priority, depth| InheritanceLink {
            name: name.into(),
            priority,
            max_depth: Some(i64::MAX),
            intransitive: false,
            no_config: false,
            depth,
        };
        let links = vec![link("c", 20, None), link("above", 0, Some(2)), link("a", 5, Some(1)), link("b", 0, Some(1))];
        let parents = inheritance(links);
        assert_eq!(parents.iter().map(|p| p.tag.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(parents[0].max_depth, Some(i32::MAX));
    }
}
