//! The house rules that a machine can check: layers, `unsafe`, openings, dependencies, links, what must not be said.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the library may import, besides itself.
const LAYERS: [(&str, &[&str]); 9] = [
    ("proto", &[]),
    ("handshake", &["proto"]),
    ("net", &["proto", "handshake"]),
    ("testing", &["proto", "handshake", "net"]),
    ("hub", &["proto"]),
    ("chat", &["proto", "hub"]),
    ("server", &["proto", "handshake", "net", "hub", "chat"]),
    ("cli", &["proto", "handshake", "net", "hub", "chat", "server"]),
    ("main", &["cli"]),
];

/// The files that may hold `unsafe`, each of which says why.
const UNSAFE: [&str; 2] = ["src/proto/mask.rs", "src/proto/utf8.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` (from the project's top) whose name ends in one of `endings`.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "artifacts", "coverage", "corpus", "seeds", "__pycache__"]
                    .contains(&&*name)
                {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "nothing under {folder} ends in {endings:?}");
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

fn rust_files() -> Vec<(String, String)> {
    ["src", "tests", "benches", "fuzz"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The code of a line, without the comment behind it.
fn code(line: &str) -> &str {
    let line = line.split("// ").next().unwrap_or(line).trim();
    if line.starts_with("//") { "" } else { line }
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_module_imports_only_from_layers_below() {
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        let Some(module) = file.strip_prefix("src/").and_then(|file| file.split(['/', '.']).next()) else {
            continue;
        };
        if module == "lib" {
            continue;
        }
        let (_, below) = LAYERS.iter().find(|(layer, _)| *layer == module).unwrap_or_else(|| {
            panic!("{file} is in no layer: give `{module}` its place in LAYERS");
        });
        for (at, line) in text.lines().enumerate() {
            for import in code(line).split("crate::").skip(1) {
                if import.starts_with('{') {
                    faults.push(format!("{file}:{}: import from each module in a line of its own", at + 1));
                }
                let imported: String =
                    import.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let is_module = LAYERS.iter().any(|(layer, _)| *layer == imported);
                if !is_module && !import.starts_with('{') {
                    faults
                        .push(format!("{file}:{}: import from a module, not from the crate's root", at + 1));
                } else if is_module && imported != module && !below.contains(&&*imported) {
                    faults.push(format!("{file}:{}: `{module}` must not import `{imported}`", at + 1));
                }
            }
            let up = code(line).rsplit_once("super::super::").map(|(_, import)| import);
            if up.is_some_and(|import| {
                LAYERS.iter().any(|(layer, _)| import.starts_with(&format!("{layer}::")))
            }) {
                faults.push(format!("{file}:{}: say `crate::`, so that the layer shows", at + 1));
            }
        }
    }
    report(faults);
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let word = concat!("un", "safe");
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        for (at, line) in text.lines().enumerate() {
            let is_there =
                code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
            if is_there && !UNSAFE.contains(&&*file) && file.starts_with("src/") {
                faults.push(format!("{file}:{}: {word} is allowed only in {UNSAFE:?}", at + 1));
            }
        }
    }
    report(faults);
}

#[test]
fn every_file_opens_with_what_it_is() {
    let faults = rust_files()
        .into_iter()
        // A fuzz target's first line may be the attribute that makes it one.
        .filter(|(_, text)| !text.lines().take(3).any(|line| line.starts_with("//!")))
        .map(|(file, _)| format!("{file} doesn't open with //!"))
        .collect();
    report(faults);
}

#[test]
fn nothing_is_left_undone() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[ig", "nore"),
    ];
    let mut faults = Vec::new();
    for (file, text) in rust_files() {
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{file}:{}: {word}", at + 1));
            }
        }
    }
    report(faults);
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let mut faults = Vec::new();
    for manifest in files(".", &["Cargo.toml"]) {
        let text = fs::read_to_string(&manifest).unwrap();
        let (mut is_in_dependencies, mut before) = (false, "");
        for line in text.lines() {
            if line.starts_with('[') {
                is_in_dependencies = line.ends_with("dependencies]");
            } else if is_in_dependencies && line.contains(" = ") && !before.starts_with('#') {
                faults.push(format!("{}: no reason above `{line}`", name(&manifest)));
            }
            before = line;
        }
    }
    report(faults);
}

/// Two TLS providers in one graph panic at run time, and this one needs a C toolchain.
#[test]
fn there_is_one_tls_provider() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(
        !lock.contains("name = \"aws-lc-sys\""),
        "aws-lc-sys is in the tree: turn that crate's default features off"
    );
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for path in files(".", &[".md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap_or_default();
            let is_elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !path.parent().unwrap().join(target).exists() {
                faults.push(format!("{}: {target} isn't there", name(&path)));
            }
        }
    }
    report(faults);
}

#[test]
fn the_tests_that_documents_name_exist() {
    let mut faults = Vec::new();
    for path in files("docs", &[".md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for named in text.split('`').filter(|part| part.starts_with("tests/") || part.starts_with("src/")) {
            let Some((file, test)) = named.split_once("::") else { continue };
            let source = fs::read_to_string(root().join(file)).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                faults.push(format!("{}: {named} isn't there", name(&path)));
            }
        }
    }
    report(faults);
}

/// What is committed works on any machine, with any registry.
#[test]
fn nothing_names_a_machine_or_a_registry() {
    let words = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("crates", ".io/"),
        concat!("pypi", ".org"),
        concat!("npmjs", ".com"),
    ];
    let mut faults = Vec::new();
    for path in files(".", &[".rs", ".md", ".toml", ".py", ".txt", "run"]) {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: {word}", name(&path), at + 1));
            }
        }
    }
    report(faults);
}
