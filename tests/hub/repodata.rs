//! Writes the output of a newRepo task in Koji's layout: small, but readable by every reader of rpm
//! metadata.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use koschei::model::arch::canonical;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::rows::{Dep, Repo, Rpm};
use super::world::World;

fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Writes the files that a repository has from the start: `repo.json`, `groups/comps.xml`, and per
/// architecture `pkglist`, `rpmlist.jsonl`, `blocklist`.
pub fn write_lists(world: &World, repo: &Repo, dir: &Path) {
    let flag = |name: &str| repo.opts.get(name).is_some_and(super::value::V::truth);
    let info = json!({
        "id": repo.id, "tag": world.tag_name(repo.tag), "tag_id": repo.tag, "task_id": repo.task,
        "event_id": repo.create_event, "opts": repo.opts.json(), "custom_opts": repo.custom_opts.json(),
        "with_src": flag("src"), "with_separate_src": flag("separate_src"), "with_debuginfo": flag("debuginfo"),
    });
    put(&dir.join("repo.json"), serde_json::to_vec_pretty(&info).unwrap());
    put(&dir.join("groups/comps.xml"), comps(world, repo));
    let mut blocked = String::new();
    for package in world.blocked_packages(repo.tag, Some(repo.create_event)) {
        writeln!(blocked, "{package}").unwrap();
    }
    for arch in world.build_arches(repo.tag, Some(repo.create_event)) {
        let (mut pkglist, mut rpmlist) = (String::new(), String::new());
        for rpm in world.repo_rpms(repo.tag, repo.create_event, &arch) {
            writeln!(pkglist, "{}", location(world, rpm)).unwrap();
            let record = super::calls::rpms::listed(rpm).json();
            writeln!(rpmlist, "{record}").unwrap();
        }
        let arch = dir.join(canonical(&arch));
        put(&arch.join("pkglist"), pkglist);
        put(&arch.join("rpmlist.jsonl"), rpmlist);
        put(&arch.join("blocklist"), &blocked);
    }
}

/// Returns the location of a package, relative to an architecture's directory.
pub fn location(world: &World, rpm: &Rpm) -> String {
    let build = rpm.build.and_then(|b| world.build(b));
    let (name, version, release) =
        build.map_or((&rpm.name, &rpm.version, &rpm.release), |b| (&b.name, &b.version, &b.release));
    format!("toplink/packages/{name}/{version}/{release}/{}/{}", rpm.arch, rpm.file_name())
}

fn comps(world: &World, repo: &Repo) -> String {
    let mut out = String::from("<?xml version=\"1.0\"?>\n<comps>\n");
    for group in world.tag_groups(repo.tag, Some(repo.create_event)) {
        let name = escape(world.group_name(group.config.group).unwrap_or_default());
        write!(out, "  <group>\n    <id>{name}</id>\n    <name>{name}</name>\n    <description>None</description>\n")
            .unwrap();
        out.push_str("    <default>false</default>\n    <uservisible>true</uservisible>\n    <packagelist>\n");
        let mut packages = group.packages;
        packages.sort_by(|a, b| a.package.cmp(&b.package));
        for package in packages {
            writeln!(out, "      <packagereq type=\"{}\">{}</packagereq>", package.kind, escape(&package.package))
                .unwrap();
        }
        out.push_str("    </packagelist>\n  </group>\n");
    }
    out.push_str("</comps>\n");
    out
}

fn entry(out: &mut String, dep: &Dep) {
    write!(out, "      <rpm:entry name=\"{}\"", escape(&dep.name)).unwrap();
    let op = match dep.flags & 14 {
        2 => "LT",
        4 => "GT",
        8 => "EQ",
        10 => "LE",
        12 => "GE",
        _ => "",
    };
    if !op.is_empty() {
        let (epoch, rest) = dep.version.split_once(':').unwrap_or(("0", &dep.version));
        let (version, release) = rest.rsplit_once('-').map_or((rest, None), |(v, r)| (v, Some(r)));
        write!(out, " flags=\"{op}\" epoch=\"{epoch}\" ver=\"{}\"", escape(version)).unwrap();
        if let Some(release) = release {
            write!(out, " rel=\"{}\"", escape(release)).unwrap();
        }
    }
    out.push_str("/>\n");
}

fn package(out: &mut String, world: &World, rpm: &Rpm) {
    let (name, arch) = (escape(&rpm.name), &rpm.arch);
    let epoch = rpm.epoch.unwrap_or(0);
    let checksum = hex::encode(Sha256::digest(rpm.payloadhash.as_bytes()));
    let source = rpm.build.and_then(|b| world.build(b)).map(|b| format!("{}.src.rpm", b.nvr())).unwrap_or_default();
    write!(
        out,
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  <version epoch=\"{epoch}\" ver=\"{}\" \
         rel=\"{}\"/>\n  <checksum type=\"sha256\" pkgid=\"YES\">{checksum}</checksum>\n  <summary>{name}</summary>\n  \
         <description>{name}</description>\n  <packager/>\n  <url/>\n  <time file=\"{time}\" build=\"{time}\"/>\n  \
         <size package=\"{size}\" installed=\"{size}\" archive=\"{size}\"/>\n  <location href=\"{}\"/>\n  \
         <format>\n    <rpm:license>MIT</rpm:license>\n    <rpm:sourcerpm>{}</rpm:sourcerpm>\n    <rpm:header-range \
         start=\"0\" end=\"0\"/>\n",
        escape(&rpm.version),
        escape(&rpm.release),
        escape(&location(world, rpm)),
        escape(&source),
        time = rpm.buildtime,
        size = rpm.size,
    )
    .unwrap();
    for (kind, element) in [(1, "provides"), (0, "requires"), (3, "conflicts"), (2, "obsoletes")] {
        let mut entries = rpm.deps.iter().filter(|d| d.kind == kind && !d.name.starts_with("rpmlib(")).peekable();
        if entries.peek().is_some() {
            writeln!(out, "    <rpm:{element}>").unwrap();
            entries.for_each(|dep| entry(out, dep));
            writeln!(out, "    </rpm:{element}>").unwrap();
        }
    }
    // Like createrepo, primary lists only the files that others may depend on.
    for file in rpm.files.iter().filter(|f| f.starts_with("/etc/") || f.contains("bin/") || *f == "/usr/lib/sendmail") {
        writeln!(out, "    <file>{}</file>", escape(file)).unwrap();
    }
    out.push_str("  </format>\n</package>\n");
}

/// Writes `repodata` of every architecture, and the link that makes the locations work.
pub fn write_metadata(world: &World, repo: &Repo, dir: &Path, timestamp: i64) {
    let comps = comps(world, repo);
    for arch in world.build_arches(repo.tag, Some(repo.create_event)) {
        let mut rpms = world.repo_rpms(repo.tag, repo.create_event, &arch);
        if repo.opts.get("src").is_some_and(super::value::V::truth) {
            let builds = world.tagged(repo.tag, Some(repo.create_event), true, true, None);
            rpms.extend(builds.iter().flat_map(|l| world.rpms_of_build(l.build)).filter(|r| r.arch == "src"));
        }
        // Sorted by file name, like createrepo_c.
        rpms.sort_by_key(|r| r.file_name());
        let mut primary = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        writeln!(
            primary,
            "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
                xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">",
            rpms.len()
        )
        .unwrap();
        let mut filelists = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" \
                packages=\"{}\">\n",
            rpms.len()
        );
        for rpm in &rpms {
            package(&mut primary, world, rpm);
            let id = hex::encode(Sha256::digest(rpm.payloadhash.as_bytes()));
            let (name, epoch) = (escape(&rpm.name), rpm.epoch.unwrap_or(0));
            writeln!(filelists, "<package pkgid=\"{id}\" name=\"{name}\" arch=\"{}\">", rpm.arch).unwrap();
            writeln!(filelists, "  <version epoch=\"{epoch}\" ver=\"{}\" rel=\"{}\"/>", rpm.version, rpm.release)
                .unwrap();
            for file in rpm.files.iter() {
                writeln!(filelists, "  <file>{}</file>", escape(file)).unwrap();
            }
            filelists.push_str("</package>\n");
        }
        primary.push_str("</metadata>\n");
        filelists.push_str("</filelists>\n");
        let parts = [
            ("primary", primary, "primary.xml.zst"),
            ("filelists", filelists, "filelists.xml.zst"),
            ("group", comps.clone(), "comps.xml"),
        ];
        let mut repomd = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
        );
        writeln!(repomd, "  <revision>{timestamp}</revision>").unwrap();
        let repodata = dir.join(canonical(&arch)).join("repodata");
        for (kind, open, name) in parts {
            let packed = if name.ends_with(".zst") {
                zstd::encode_all(open.as_bytes(), 1).unwrap()
            } else {
                open.clone().into_bytes()
            };
            let (sum, open_sum) = (hex::encode(Sha256::digest(&packed)), hex::encode(Sha256::digest(open.as_bytes())));
            write!(
                repomd,
                "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{sum}</checksum>\n    <open-checksum \
                 type=\"sha256\">{open_sum}</open-checksum>\n    <location href=\"repodata/{sum}-{name}\"/>\n    \
                 <timestamp>{timestamp}</timestamp>\n    <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
                packed.len(),
                open.len(),
            )
            .unwrap();
            put(&repodata.join(format!("{sum}-{name}")), packed);
        }
        repomd.push_str("</repomd>\n");
        put(&repodata.join("repomd.xml"), repomd);
        let toplink = dir.join(canonical(&arch)).join("toplink");
        fs::remove_file(&toplink).ok();
        std::os::unix::fs::symlink("../../../..", toplink).unwrap();
    }
}

/// Copies a prepared repository. It overwrites existing files of the same name and leaves the
/// others.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() && entry.file_name() != "repo.json" {
            fs::remove_file(&target).ok();
            // A hard link costs nothing, even for a large repository.
            if fs::hard_link(entry.path(), &target).is_err() {
                fs::copy(entry.path(), &target).unwrap();
            }
        }
    }
}
