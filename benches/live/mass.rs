//! A mass change: a package of the build group, and a library with another soname that very many
//! packages need, change in one repository.

use std::collections::{BTreeMap, BTreeSet};

use super::generations::{Distribution, between};

/// A library by the soname that other packages require.
pub struct Library {
    soname: String,
    /// The source package that makes it.
    source: usize,
    /// Number of binary packages that require it.
    needed: usize,
}

impl Distribution {
    /// Changes the soname of the library that most packages require, among those that were not
    /// changed so, as if it and all who require it had been built again together. Returns the source
    /// packages to rebuild: the library's, and one of the build group's.
    ///
    /// The others keep their releases, because the measured commands are those that follow from the
    /// change, not those for packages that were just built.
    pub fn mass_change(&mut self, rebuilt: &BTreeSet<usize>) -> Vec<usize> {
        let mut libraries = self.libraries();
        libraries.sort_by_key(|l| std::cmp::Reverse(l.needed));
        let library = libraries.into_iter().find(|l| !rebuilt.contains(&l.source)).unwrap();
        let (stem, number) = library.soname.split_once(".so.").unwrap();
        let had = format!("name=\"{}\"", library.soname);
        let has = format!("name=\"{stem}.so.1000{number}\"");
        let changed = self.replace_everywhere(&had, &has);
        let in_group = |at: &usize| self.binary_names(*at).any(|name| self.group.iter().any(|member| member == name));
        let free = |at: &usize| *at != library.source && !rebuilt.contains(at);
        let member = (0..self.sources.len()).filter(free).find(in_group).unwrap();
        eprintln!(
            "{} and {} are rebuilt; {} changes in {changed} packages",
            self.sources[library.source].nvr(),
            self.sources[member].nvr(),
            library.soname
        );
        vec![library.source, member]
    }

    /// Returns the libraries that source packages of the collection make, one for each of these.
    fn libraries(&self) -> Vec<Library> {
        let sonames = |text: &str, from: &str, to: &str| -> BTreeSet<String> {
            let lines = between(text, from, to).unwrap_or_default().lines();
            let names = lines.filter_map(|line| between(line, "name=\"", "\""));
            names.filter(|name| name.contains(".so.")).map(str::to_owned).collect()
        };
        let mut needed: BTreeMap<String, usize> = BTreeMap::new();
        for text in self.texts() {
            for soname in sonames(text, "<rpm:requires>", "</rpm:requires>") {
                *needed.entry(soname).or_default() += 1;
            }
        }
        let most_needed = |source: usize| {
            let made = self.binary_texts(source).flat_map(|t| sonames(t, "<rpm:provides>", "</rpm:provides>"));
            let made = made.filter_map(|soname| needed.get(&soname).map(|n| (*n, soname)));
            made.max().map(|(needed, soname)| Library { soname, source, needed })
        };
        (0..self.sources.len()).filter_map(most_needed).collect()
    }
}
