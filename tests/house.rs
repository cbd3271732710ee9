//! A process of its own because it tests the source, not the library: modules keep to the order that `docs/modules` states,
//! `unsafe` and `catch_unwind` stay at their addresses, files and functions stay short, and words are the field's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files that may hold `unsafe`, besides everything in `sys/`.
const UNSAFE: [&str; 10] = [
    "kernel/batch",
    "kernel/inline_fn",
    "kernel/loop_cell",
    "kernel/hot_paths",
    "kernel/task/any_task",
    "kernel/task/cell",
    "kernel/task/header",
    "kernel/task/cell_pool",
    "kernel/task/slots",
    "kernel/task/waker",
];

/// The files that catch panics, each with its reason. All other code of the loop's thread enters user code through
/// `kernel/enter`, or uses the functions of `kernel/handlers` and `kernel/report`.
const CATCHES: &str = "
    kernel/enter             enters user code: callbacks, steps, protocols, listeners
    kernel/handlers          guards wakers and hooks; the exception handler itself may panic
    kernel/report            a tracing subscriber may panic, and so may a payload's destructor
    kernel/task/cell         stores the output of a poll, a panic too, where the future was
    kernel/task/header       keeps the panic of a task's destructor for the report
    kernel/task/root         stores the outcome of the future of run_until_complete
    kernel/turn              guards the destructor of a result that nobody awaited
    kernel/io/call_observer  a panic of the crate's own I/O code ends one connection
    event_loop/run_coroutine sends the panic of a coroutine to the thread that awaits it
    combine/child_count      a child's value is kept even if the rest of its future panics when it is dropped
    combine/group/child      a child's panic is the failure of its group
    combine/group/scope      the panic of a group's body waits for the children
    queue/calls              the second call of a store after a panic, while that unwinds
    executor/job             runs on a worker thread: the panic is the result
    executor/workers         runs a worker thread's initializer
    signal/listeners         keeps the callback for the next signal, then goes on
    stream/client_task       a panic of a server's client is reported as the client's
    process_pool/function    runs in a worker process: the panic is the response
";

/// The most lines that a file below each folder may have, documentation and all.
const MOST_LINES: [(&str, usize); 4] = [
    ("src", 500),
    ("tests", 600),
    ("benches", 600),
    ("examples", 60),
];

/// The fewest lines of a file in `src`. What is shorter belongs to the file that uses it. `mod.rs`, `error.rs` and the
/// system calls of `sys/` may be shorter.
const FEWEST_LINES: usize = 25;

/// The most lines of a function in `src`, from its `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 60;

/// Words that this crate once had a private meaning for. None of them occurs anywhere, not even as a part of a name.
const BANNED_WORDS: [&str; 15] = [
    "careful",
    "chore",
    "deaf",
    "foreign",
    "knock",
    "luggage",
    "membership",
    "mishap",
    "nursery",
    "rung",
    "stir",
    "tally",
    "tenant",
    "transplant",
    "whoever",
];

/// Names that none may have or contain, while prose may use the words.
const BANNED_NAMES: [&str; 8] = [
    "another_s",
    "fell",
    "file_turn",
    "hand_up",
    "let_go",
    "lie_down",
    "look_again",
    "must_look",
];

/// Phrases that occur neither in prose nor in names.
const BANNED_PHRASES: [&str; 3] = ["stand in line", "stands in line", "in the line"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("src")
}

/// Every Rust file below a folder: its path there without the extension, and its text. What Cargo builds is not ours.
fn files(below: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(below).unwrap().with_extension("");
                found.insert(
                    name.to_str().unwrap().to_owned(),
                    fs::read_to_string(path).unwrap(),
                );
            }
        }
    }
    found
}

/// Every source file: its module's path, as in `kernel/turn`, and its text.
fn modules() -> BTreeMap<String, String> {
    let found = files(&source());
    assert!(found.len() > 30, "the source was not found");
    found
}

/// The list on the page `docs/modules`.
fn order() -> Vec<String> {
    let page = fs::read_to_string(source().join("docs/modules.rs")).unwrap();
    let list = page.split("//! order of modules\n").nth(1).unwrap();
    list.lines()
        .take_while(|line| !line.contains("```"))
        .map(|line| {
            line.trim_start_matches("//!")
                .split_whitespace()
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// A front page: essay, `mod` lines, re-exports.
fn is_front_page(module: &str) -> bool {
    module == "lib" || module.ends_with("/mod")
}

/// Code without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The crate's modules that a file names, by `crate::` or `super::`.
fn named(module: &str, text: &str, order: &[String]) -> Vec<String> {
    let parent = module.rsplit_once('/').map_or("", |(parent, _)| parent);
    let code = code(text);
    let mut named = Vec::new();
    for (prefix, base) in [
        ("crate::", String::new()),
        ("super::", parent.replace('/', "::")),
    ] {
        for (position, _) in code.match_indices(prefix) {
            let preceded = code[..position].chars().next_back();
            if preceded.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest: String = code[position + prefix.len()..]
                .chars()
                .take_while(|&c| c.is_alphanumeric() || c == '_' || c == ':')
                .collect();
            let full = if base.is_empty() {
                rest
            } else {
                format!("{base}::{rest}")
            };
            let full = full.replace("::", "/");
            let target = order
                .iter()
                .filter(|known| full == **known || full.starts_with(&format!("{known}/")));
            let target = target.max_by_key(|known| known.len());
            named.push(target.cloned().unwrap_or_else(|| format!("?{full}")));
        }
    }
    named
}

#[test]
fn every_module_is_in_the_order_once_and_nothing_else_is() {
    let mut listed = order();
    listed.sort();
    let existing: Vec<_> = modules()
        .into_keys()
        .filter(|module| !is_front_page(module))
        .collect();
    assert_eq!(listed, existing);
}

#[test]
fn a_module_imports_only_from_those_before_it() {
    let order = order();
    let place = |module: &str| order.iter().position(|known| known == module);
    let mut imports = 0;
    for (module, text) in modules()
        .iter()
        .filter(|(module, _)| !is_front_page(module))
    {
        for target in named(module, text, &order) {
            imports += 1;
            let Some(before) = place(&target) else {
                panic!("{module} names {target}, which is not in the order")
            };
            let own = place(module);
            assert!(
                own.is_some_and(|own| before < own),
                "{module} imports from {target}, which is after it in the order, or is not in the order itself"
            );
        }
    }
    assert!(
        imports > 100,
        "only {imports} imports were found: the parser is blind"
    );
}

/// The items of a front page that are neither `mod` nor `use`: their first lines.
fn logic_of(text: &str) -> Vec<&str> {
    let mut logic = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let declares = line.starts_with("use ") || line.starts_with("mod ") || {
            let (visibility, item) = line.split_once(' ').unwrap_or_default();
            visibility.starts_with("pub") && (item.starts_with("use ") || item.starts_with("mod "))
        };
        let ends = line.ends_with(';') || line.ends_with(")]");
        if inside {
            inside = !ends;
        } else if declares || line.starts_with("#[") || line.starts_with("#![") {
            inside = !ends && !line.ends_with(']');
        } else if !line.is_empty() && !line.starts_with("//") {
            logic.push(line);
        }
    }
    logic
}

#[test]
fn front_pages_hold_no_logic() {
    for (module, text) in modules().iter().filter(|(module, _)| is_front_page(module)) {
        for word in ["fn ", "impl ", "static ", "let "] {
            let found = code(text)
                .lines()
                .any(|line| line.trim_start().starts_with(word));
            assert!(!found, "{module} holds a line that starts with `{word}`");
        }
        let logic = logic_of(text);
        // `lib.rs` refuses systems, and has the README's examples tested.
        assert!(
            module == "lib" || logic.is_empty(),
            "{module} is a front page, which has `mod` and `use` alone, and holds {logic:?}"
        );
    }
}

#[test]
fn every_folder_has_a_front_page_with_an_essay() {
    let modules = modules();
    let folders: BTreeSet<_> = modules
        .keys()
        .filter_map(|module| module.rsplit_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    for folder in folders {
        let Some(text) = modules.get(&format!("{folder}/mod")) else {
            panic!("src/{folder} has no mod.rs")
        };
        let essay = text.lines().take_while(|line| line.starts_with("//!"));
        let lines = essay.count();
        assert!(
            lines >= 3,
            "src/{folder}/mod.rs says what the folder holds in {lines} lines; that needs 3 at least"
        );
    }
}

#[test]
fn every_module_begins_with_a_paragraph() {
    for (module, text) in modules() {
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("//! ") && first.len() > 20,
            "{module} does not say why it exists"
        );
    }
}

#[test]
fn unsafe_code_stays_at_its_addresses() {
    for (module, text) in modules() {
        let allowed = module.starts_with("sys/") || UNSAFE.contains(&module.as_str());
        let has = ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"]
            .iter()
            .any(|form| code(&text).contains(form));
        assert!(allowed || !has, "{module} holds unsafe code");
    }
}

/// How many lines may hold an unsafe block. A new one needs another to go, or a reason here.
const UNSAFE_LINES: usize = 110;

#[test]
fn unsafe_code_stays_small() {
    let lines = modules().into_values().map(|text| {
        let code = code(&text);
        code.lines()
            .filter(|line| line.contains("unsafe {"))
            .count()
    });
    let sum: usize = lines.sum();
    assert!(sum <= UNSAFE_LINES, "{sum} lines hold an unsafe block");
}

#[test]
fn panics_are_caught_in_named_files_alone() {
    let named = CATCHES
        .lines()
        .filter_map(|line| line.trim().split_once(' '));
    let mut catching: BTreeSet<_> = named.map(|(file, _reason)| file).collect();
    for (module, text) in &modules() {
        if code(text).contains("catch_unwind(") {
            assert!(
                catching.remove(module.as_str()),
                "{module} catches panics: use `kernel/enter`, or name the file here with its reason"
            );
        }
    }
    assert!(catching.is_empty(), "these catch no panic: {catching:?}");
}

#[test]
fn no_file_has_more_lines_than_its_folder_allows() {
    let mut long = Vec::new();
    for (folder, most) in MOST_LINES {
        let files = files(&root().join(folder));
        assert!(files.len() > 5, "{folder} was not found");
        for (file, text) in files {
            let lines = text.lines().count();
            if lines > most {
                long.push(format!("{folder}/{file} has {lines} lines of {most}"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn no_source_file_is_a_splinter() {
    let short: Vec<_> = modules()
        .into_iter()
        .filter(|(module, _)| !module.starts_with("sys/"))
        .filter(|(module, _)| !is_front_page(module) && !module.ends_with("error"))
        .filter(|(_, text)| text.lines().count() < FEWEST_LINES)
        .map(|(module, _)| module)
        .collect();
    assert!(
        short.is_empty(),
        "fewer than {FEWEST_LINES} lines: {short:?}"
    );
}

/// The functions of a file that rustfmt has formatted, with how many lines each has from `fn` to the closing brace.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let item = line.trim_start();
        let indent = &line[..line.len() - item.len()];
        let Some((qualifiers, rest)) = item.split_once("fn ") else {
            continue;
        };
        let is_function = qualifiers.split_whitespace().all(|word| {
            word.starts_with("pub")
                || ["async", "const", "crate)", "super)", "unsafe"].contains(&word)
                || ["extern", "\"C\"", "in"].contains(&word)
        });
        if !is_function || item.starts_with("//") {
            continue;
        }
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_');
        let last = lines[first..].iter().position(|line| {
            let closing = line.strip_prefix(indent).unwrap_or_default();
            let is_whole = !closing.starts_with(char::is_whitespace);
            closing == "}" || is_whole && (closing.ends_with('}') || closing.ends_with(';'))
        });
        functions.push((name.into_iter().next().unwrap(), last.unwrap() + 1));
    }
    functions
}

#[test]
fn no_function_is_longer_than_a_page() {
    let mut found = 0;
    let mut long = Vec::new();
    for (module, text) in modules() {
        for (name, lines) in functions(&text) {
            found += 1;
            if lines > LONGEST_FUNCTION {
                long.push(format!("{name} in {module} has {lines} lines"));
            }
        }
    }
    assert!(found > 1000, "only {found} functions were found");
    assert!(long.is_empty(), "more than {LONGEST_FUNCTION}: {long:#?}");
}

#[test]
fn no_wing_has_two_files_of_one_name() {
    let mut names = BTreeMap::<_, Vec<_>>::new();
    let modules = modules();
    for module in modules.keys() {
        let (wing, _) = module.split_once('/').unwrap_or(("", module));
        let name = module.rsplit('/').next().unwrap();
        if !["mod", "error"].contains(&name) {
            names.entry((wing, name)).or_default().push(module);
        }
    }
    names.retain(|_, modules| modules.len() > 1);
    assert!(names.is_empty(), "one name twice: {:#?}", names.values());
}

/// The words of a text in lower case, and those that make up each of its names: `look` and `again` of `LookAgain`.
struct Words {
    /// All words in their order, whatever is between them.
    prose: Vec<String>,
    /// The words of each name outside comments, with `_` before, between and after them.
    names: BTreeSet<String>,
}

fn words(text: &str) -> Words {
    let mut prose = Vec::new();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let comment = line.find("//").unwrap_or(line.len());
        for (start, name) in names_of(line) {
            let mut parts = Vec::<String>::new();
            for part in name.split('_').filter(|part| !part.is_empty()) {
                let mut rest = part;
                while !rest.is_empty() {
                    let begun = rest.find(|c: char| c.is_lowercase()).unwrap_or(rest.len());
                    let end = rest[begun..].find(char::is_uppercase);
                    let (word, after) = rest.split_at(end.map_or(rest.len(), |end| begun + end));
                    parts.push(word.to_lowercase());
                    rest = after;
                }
            }
            // A name in a comment is one that has an underscore.
            if start < comment || name.trim_matches('_').contains('_') {
                names.insert(format!("_{}_", parts.join("_")));
            }
            prose.extend(parts);
        }
    }
    Words { prose, names }
}

/// What a line has of letters, digits and underscores, with where each begins.
fn names_of(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.split(move |c| !is_part(c))
        .filter(|name| !name.is_empty())
        .map(|name| (name.as_ptr() as usize - line.as_ptr() as usize, name))
}

/// What a text has of the banned lists.
fn banned(text: &str) -> BTreeMap<&'static str, usize> {
    let words = words(text);
    let mut found = BTreeMap::new();
    for word in &words.prose {
        let singular = word.strip_suffix('s').unwrap_or(word);
        let matches = |banned: &&&str| ***banned == *word || **banned == singular;
        if let Some(banned) = BANNED_WORDS.iter().find(matches) {
            *found.entry(*banned).or_default() += 1;
        }
    }
    for banned in BANNED_NAMES {
        let within = format!("_{banned}_");
        let names = words.names.iter().filter(|name| name.contains(&within));
        found.insert(banned, names.count());
    }
    for banned in BANNED_PHRASES {
        let phrase: Vec<_> = banned.split(' ').collect();
        let places = words.prose.windows(phrase.len());
        found.insert(banned, places.filter(|place| *place == phrase).count());
    }
    found.retain(|_, count| *count > 0);
    found
}

#[test]
fn words_are_the_field_s() {
    let planted = "// A loop must\n// stand in line.\nlet hand_ups = LetGo; // It fell. Knocks at look_again.";
    let expected = ["knock", "let_go", "look_again", "stand in line"];
    assert!(banned(planted).keys().eq(&expected), "the search is blind");

    let mut texts = BTreeMap::new();
    for (folder, _) in MOST_LINES {
        for (file, text) in files(&root().join(folder)) {
            texts.insert(format!("{folder}/{file}.rs"), text);
        }
    }
    for page in ["README.md", "tests/it/faults.md"] {
        texts.insert(
            page.to_owned(),
            fs::read_to_string(root().join(page)).unwrap(),
        );
    }
    texts.remove("tests/house.rs").unwrap();
    texts.retain(|_, text| !banned(text).is_empty());
    let found: Vec<_> = texts
        .iter()
        .map(|(file, text)| format!("{file}: {:?}", banned(text)))
        .collect();
    assert!(
        found.is_empty(),
        "words that nobody else uses so: {found:#?}"
    );
}

/// The files of tests that have each fault's id in a test's name, as `c4` and `p2` in `fn c4_p2_…`.
fn tests_by_fault() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for (file, text) in files(&root().join("tests")) {
        let names = text.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("fn ")
                .or_else(|| line.strip_prefix("async fn "))
        });
        for id in names.flat_map(|name| name.split('_').take_while(|part| is_fault_id(part))) {
            found.entry(id.to_owned()).or_default().insert(file.clone());
        }
    }
    found
}

/// A letter and a number.
fn is_fault_id(part: &str) -> bool {
    let (letter, number) = part.split_at_checked(1).unwrap_or(("", ""));
    letter.chars().all(|letter| letter.is_ascii_lowercase())
        && (1..=2).contains(&number.len())
        && number.chars().all(|digit| digit.is_ascii_digit())
}

#[test]
fn every_fault_in_a_test_s_name_is_in_the_list_with_its_files() {
    let list = fs::read_to_string(root().join("tests/it/faults.md")).unwrap();
    let mut listed = BTreeMap::new();
    for entry in list.split("\n- **").skip(1) {
        let (id, text) = entry.split_once("**").unwrap();
        let (_, tests) = text.split_once("Tests:").expect(id);
        let files: BTreeSet<_> = tests.split('`').skip(1).step_by(2).collect();
        let again = listed.insert(id, files);
        assert!(again.is_none(), "tests/it/faults.md has {id} twice");
    }
    let tests = tests_by_fault();
    assert!(tests.len() > 50, "the tests were not found");
    for (id, files) in &tests {
        let files: BTreeSet<_> = files.iter().map(String::as_str).collect();
        let entry = listed.remove(id.as_str());
        assert_eq!(entry, Some(files), "left: the files of {id} in faults.md");
    }
    assert!(listed.is_empty(), "no test has these ids: {listed:?}");
}
