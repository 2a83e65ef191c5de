//! Computes how busy the builders are, per architecture.
//!
//! Source: Koschei 2.4, `koji_util.py` `get_koji_load`. The load of an architecture is a sum over
//! the hosts that have it: the sum of `task_load`, divided by the sum of capacities. A host that is
//! not ready counts with its whole capacity as load. The load is 1 if there is no capacity.
//!
//! One thing differs on purpose (D26). Koschei stops the whole cycle when the most urgent package
//! needs a busy architecture. Here only packages that need a busy architecture wait, and others
//! pass. An evaluation records the loads it used, so that it can be derived again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arches::{NOARCH, canonical};
use crate::model::{Hub, Name};

/// Load of an architecture without free capacity.
pub const FULL: u32 = 1000;
/// Load of an architecture for which no builder takes tasks: there is none, or none that is enabled
/// and ready. It is above every limit that is in effect, and messages distinguish it from overload.
pub const NOBODY: u32 = FULL + 1;
/// Largest accepted capacity or load of one host, in thousandths. Larger values are cut to it.
pub const MAX_HOST_THOUSANDTHS: u64 = 1_000_000_000;

/// A builder as `listHosts` describes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Architectures the builder supports, by Koji's (canonical) names.
    #[schemars(with = "Vec<String>")]
    pub arches: Vec<Name>,
    /// The builder's capacity, in thousandths of Koji's unit.
    pub capacity: u64,
    /// The builder's current load, in the same unit.
    pub task_load: u64,
    /// Whether the builder takes tasks at the moment.
    pub ready: bool,
    /// Whether an administrator has enabled the builder. A disabled builder does not count.
    pub enabled: bool,
}

/// Load per canonical architecture, in thousandths, rounded up. A load is above a limit exactly if
/// its rounded value is.
///
/// With several hubs, the keys are `HUB/ARCH` ([`ArchLoads::of_hubs`]), and [`ArchLoads::by_hub`]
/// separates the hubs again. Older logs hold one load per architecture, which applies to all hubs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ArchLoads(#[schemars(with = "BTreeMap<String, u32>")] pub BTreeMap<Name, u32>);

impl ArchLoads {
    /// Measures the loads of the tag's architectures. Cost: hosts × architectures.
    pub fn measure(hosts: &[Host], tag_arches: &[Name]) -> Self {
        Self(tag_arches.iter().map(|a| canonical(a)).map(|a| (a.into(), load_of(hosts, a))).collect())
    }

    /// Combines the loads of several hubs.
    pub fn of_hubs<'a>(hubs: impl IntoIterator<Item = (&'a Hub, &'a Self)>) -> Self {
        let mut all = BTreeMap::new();
        for (hub, loads) in hubs {
            // A hub without any builder has reported, too: it has no capacity.
            let nothing = loads.0.is_empty().then(|| (Name::default(), FULL));
            let of_hub = loads.0.iter().map(|(a, load)| (a.clone(), *load)).chain(nothing);
            all.extend(of_hub.map(|(arch, load)| (Name::from(format!("{hub}{BETWEEN}{arch}")), load)));
        }
        Self(all)
    }

    /// Separates the loads by hub. Cost: O(entries) if there are several hubs.
    pub fn by_hub(&self) -> Loads<'_> {
        if !self.0.keys().any(|k| k.contains(BETWEEN)) {
            return Loads::All(self);
        }
        let mut hubs: BTreeMap<&str, Self> = BTreeMap::new();
        for (key, load) in &self.0 {
            if let Some((hub, arch)) = key.split_once(BETWEEN) {
                let of_hub = hubs.entry(hub).or_default();
                of_hub.0.extend((!arch.is_empty()).then(|| (arch.into(), *load)));
            }
        }
        Loads::Each(hubs)
    }

    /// Returns the loads as an evaluation records them.
    pub fn recorded(&self) -> BTreeMap<String, u32> {
        self.0.iter().map(|(arch, load)| (arch.to_string(), *load)).collect()
    }

    /// Reads the loads that an evaluation recorded.
    pub fn from_recorded(recorded: &BTreeMap<String, u32>) -> Self {
        Self(recorded.iter().map(|(arch, load)| (Name::from(arch.as_str()), *load)).collect())
    }

    /// Returns the load of one architecture, in any spelling. Returns [`FULL`] if it was not
    /// measured, because no builder is known to support it.
    pub fn of(&self, arch: &str) -> u32 {
        self.0.get(canonical(arch)).copied().unwrap_or(FULL)
    }

    /// Returns the load that applies to a package: the highest of its architectures. For a noarch
    /// package it is the lowest, because a builder of any of them is enough. A noarch package that
    /// names no other architecture may go to any measured one. Returns [`FULL`] if there is no
    /// architecture.
    pub fn for_package(&self, arches: &[Name], noarch: bool) -> u32 {
        let load = if noarch {
            self.places(arches).map(|(_, load)| load).min()
        } else {
            arches.iter().map(|a| self.of(a)).max()
        };
        load.unwrap_or(FULL)
    }

    /// Lists where a noarch package may be built, with loads: on the architectures named beside
    /// `noarch`, or anywhere.
    fn places<'a>(&'a self, arches: &'a [Name]) -> impl Iterator<Item = (&'a str, u32)> {
        let named = || arches.iter().filter(|a| *a != NOARCH);
        let anywhere = named().next().is_none();
        let all = self.0.iter().filter(move |_| anywhere).map(|(a, load)| (a.as_str(), *load));
        named().map(|a| (canonical(a), self.of(a))).chain(all)
    }

    /// Returns the architectures above the limit, as canonical names in order. Returns none if the
    /// limit is [`FULL`] or more.
    pub fn overloaded(&self, limit: u32) -> Vec<Name> {
        if limit >= FULL {
            return Vec::new();
        }
        self.0.iter().filter(|&(_, &load)| load > limit).map(|(arch, _)| arch.clone()).collect()
    }
}

/// Separates hub and architecture in a key. No hub's name contains it.
const BETWEEN: char = '/';

/// The loads that apply to each hub.
#[derive(Clone, Debug)]
pub enum Loads<'a> {
    /// One load per architecture for all hubs.
    All(&'a ArchLoads),
    /// Separate loads for each hub.
    Each(BTreeMap<&'a str, ArchLoads>),
}

impl Loads<'_> {
    /// Returns the loads that apply to builds on a hub. Returns `None` if that hub did not report
    /// loads. Load then limits nothing there.
    pub fn of(&self, hub: &Hub) -> Option<&ArchLoads> {
        match self {
            Self::All(loads) => Some(loads),
            Self::Each(hubs) => hubs.get(hub.as_str()),
        }
    }
}

/// Returns the overloaded architectures that make a package wait, as canonical names in order.
/// Returns `None` if the package need not wait. A `noarch` package waits only while every
/// architecture it may be built on is overloaded.
pub fn overloaded_arches(loads: &ArchLoads, arches: &[Name], noarch: bool, limit: u32) -> Option<Vec<Name>> {
    if limit >= FULL || loads.for_package(arches, noarch) <= limit {
        return None;
    }
    let mut busy: Vec<Name> = if noarch {
        loads.places(arches).filter(|(_, load)| *load > limit).map(|(a, _)| a.into()).collect()
    } else {
        arches.iter().filter(|a| loads.of(a) > limit).map(|a| canonical(a).into()).collect()
    };
    busy.sort();
    busy.dedup();
    Some(busy)
}

fn load_of(hosts: &[Host], arch: &str) -> u32 {
    let (mut capacity, mut load) = (0_u64, 0_u64);
    for host in hosts.iter().filter(|h| h.enabled && h.arches.iter().any(|a| canonical(a) == arch)) {
        let host_capacity = host.capacity.min(MAX_HOST_THOUSANDTHS);
        capacity = capacity.saturating_add(host_capacity);
        load = load.saturating_add(if host.ready { host.task_load.min(host_capacity) } else { host_capacity });
    }
    let takes_tasks =
        |h: &&Host| h.enabled && h.ready && h.capacity > 0 && h.arches.iter().any(|a| canonical(a) == arch);
    if capacity == 0 || !hosts.iter().any(|h| takes_tasks(&h)) {
        return NOBODY;
    }
    let thousandths = (u128::from(load) * u128::from(FULL)).div_ceil(u128::from(capacity));
    u32::try_from(thousandths).expect("no host carries more than its capacity")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(Name::from).collect()
    }

    fn host(arches: &str, capacity: u64, task_load: u64) -> Host {
        Host { arches: names(arches), capacity, task_load, ready: true, enabled: true }
    }

    fn loads(pairs: &[(&str, u32)]) -> ArchLoads {
        ArchLoads(pairs.iter().map(|&(a, n)| (a.into(), n)).collect())
    }

    #[rstest]
    #[case::idle(vec![host("x86_64", 2000, 0)], 0)]
    #[case::sum(vec![host("x86_64 i386", 2000, 1000), host("x86_64", 6000, 3000)], 500)]
    #[case::other_arch_does_not_count(vec![host("x86_64", 2000, 500), host("s390x", 2000, 2000)], 250)]
    #[case::over_capacity_is_full(vec![host("x86_64", 2000, 9000), host("x86_64", 2000, 0)], 500)]
    #[case::not_ready_is_full(vec![Host { ready: false, ..host("x86_64", 2000, 0) }, host("x86_64", 2000, 0)], 500)]
    #[case::disabled_is_not_there(
        vec![Host { enabled: false, ..host("x86_64", 2000, 2000) }, host("x86_64", 2000, 0)], 0
    )]
    #[case::no_host(vec![], NOBODY)]
    #[case::no_capacity(vec![host("x86_64", 0, 0)], NOBODY)]
    #[case::the_only_one_disabled(vec![Host { enabled: false, ..host("x86_64", 2000, 0) }], NOBODY)]
    #[case::the_only_one_not_ready(vec![Host { ready: false, ..host("x86_64", 2000, 0) }], NOBODY)]
    #[case::all_of_it_used(vec![host("x86_64", 2000, 2000)], FULL)]
    #[case::rounded_up(vec![host("x86_64", 10_000, 6001)], 601)]
    fn load_of_an_arch(#[case] hosts: Vec<Host>, #[case] expected: u32) {
        assert_eq!(ArchLoads::measure(&hosts, &names("x86_64")).of("x86_64"), expected);
    }

    #[test]
    fn spelling_of_the_tag_does_not_matter() {
        let measured =
            ArchLoads::measure(&[host("i386 x86_64", 2000, 600), host("armhfp", 1000, 900)], &names("i686 armv7hl"));
        assert_eq!(measured, loads(&[("armhfp", 900), ("i386", 300)]));
        assert_eq!((measured.of("i586"), measured.of("armv7hl"), measured.of("s390x")), (300, 900, FULL));
    }

    #[test]
    fn at_the_limit_is_not_above_it() {
        let loads = loads(&[("x86_64", 600), ("aarch64", 601)]);
        assert_eq!(loads.overloaded(600), names("aarch64"));
        assert_eq!(overloaded_arches(&loads, &names("x86_64 aarch64"), false, 600), Some(names("aarch64")));
        assert_eq!(overloaded_arches(&loads, &names("x86_64 aarch64"), true, 600), None, "one place is free");
    }

    /// Case T30 and its neighbours, with a limit of 0.6 as in the test configuration.
    #[rstest]
    #[case::t30(700, Some("x86_64"))]
    #[case::t28_load(300, None)]
    #[case::at_the_limit(600, None)]
    #[case::just_above(601, Some("x86_64"))]
    fn busy_arch_holds_back(#[case] load: u32, #[case] held: Option<&str>) {
        let got = overloaded_arches(&loads(&[("x86_64", load)]), &names("x86_64"), false, 600);
        assert_eq!(got, held.map(names));
    }

    /// D26 is not carried over: a busy architecture holds back only the packages that need it.
    #[rstest]
    #[case::needs_it("s390x x86_64", false, Some("s390x"))]
    #[case::does_not("x86_64 i686", false, None)]
    #[case::noarch_goes_elsewhere("noarch", true, None)]
    fn no_head_of_line_blocking(#[case] arches: &str, #[case] noarch: bool, #[case] held: Option<&str>) {
        let busy = loads(&[("i386", 100), ("s390x", 990), ("x86_64", 400)]);
        assert_eq!(overloaded_arches(&busy, &names(arches), noarch, 500), held.map(names));
        assert_eq!(busy.overloaded(500), names("s390x"));
    }

    #[test]
    fn noarch_waits_when_all_are_busy() {
        let busy = loads(&[("aarch64", 800), ("x86_64", 700)]);
        assert_eq!(busy.for_package(&names("noarch"), true), 700);
        assert_eq!(overloaded_arches(&busy, &names("noarch"), true, 600), Some(names("aarch64 x86_64")));
        assert_eq!(busy.for_package(&names("x86_64 aarch64"), false), 800, "the highest");
    }

    /// A noarch package goes where its own collection builds. Loads cover all collections, but idle
    /// architectures of others do not help it.
    #[test]
    fn noarch_goes_where_its_collection_builds() {
        let busy = loads(&[("aarch64", 800), ("s390x", 0), ("x86_64", 700)]);
        assert_eq!(busy.for_package(&names("x86_64 aarch64"), true), 700, "the lowest of its own");
        assert_eq!(overloaded_arches(&busy, &names("x86_64 aarch64"), true, 600), Some(names("aarch64 x86_64")));
        assert_eq!(overloaded_arches(&busy, &names("x86_64 s390x"), true, 600), None);
        assert_eq!(
            overloaded_arches(&busy, &names("i686"), true, 600),
            Some(names("i386")),
            "nobody is known to build it"
        );
    }

    /// Builds are limited by the load of their own hub alone, and by none if it is not known. Loads
    /// in old logs apply to all hubs.
    #[test]
    fn each_hub_has_its_own() {
        let (one, two, three) = (Hub::new("one"), Hub::new("two"), Hub::new("three"));
        let (busy, idle) = (loads(&[("x86_64", 900), ("s390x", 10)]), loads(&[("x86_64", 100)]));
        let both = ArchLoads::from_recorded(&ArchLoads::of_hubs([(&one, &busy), (&two, &idle)]).recorded());
        assert_eq!(both.0.keys().map(Name::as_str).collect::<Vec<_>>(), ["one/s390x", "one/x86_64", "two/x86_64"]);
        let by_hub = both.by_hub();
        assert_eq!((by_hub.of(&one), by_hub.of(&two), by_hub.of(&three)), (Some(&busy), Some(&idle), None));
        assert_eq!((busy.by_hub().of(&one), busy.by_hub().of(&three)), (Some(&busy), Some(&busy)));
        let without = ArchLoads::of_hubs([(&one, &idle), (&two, &ArchLoads::default())]);
        assert_eq!(without.by_hub().of(&two).map(|l| l.of("x86_64")), Some(FULL), "no builder at all");
    }

    /// A limit of 1000 switches the rule off, even if no builder is known. (The other half of T39
    /// is that the hub is then not asked.)
    #[test]
    fn full_limit_switches_off() {
        let none = ArchLoads::default();
        assert_eq!(overloaded_arches(&none, &names("x86_64"), false, 1000), None);
        assert_eq!(overloaded_arches(&none, &names("x86_64"), false, 999), Some(names("x86_64")));
        assert_eq!(loads(&[("x86_64", FULL)]).overloaded(1000), names(""));
    }

    proptest! {
        #[test]
        fn load_is_a_share(hosts in prop::collection::vec(any::<(u64, u64, bool, bool)>(), 0..20)) {
            let hosts: Vec<Host> = hosts
                .into_iter()
                .map(|(capacity, task_load, ready, enabled)| Host {
                    arches: names("x86_64"),
                    capacity,
                    task_load,
                    ready,
                    enabled,
                })
                .collect();
            prop_assert!(ArchLoads::measure(&hosts, &names("x86_64")).of("x86_64") <= NOBODY);
        }
    }
}
