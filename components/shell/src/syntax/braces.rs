//! `{a,b}` and `{1..5}`: one word becomes several, before anything else is expanded.
//!
//! Only what is not quoted counts. A word that would become more than `WORDS_MAX` stays as it is.

use super::{Part, Word};

const WORDS_MAX: usize = 1_000;

/// A character that may belong to a brace, or a part that does not.
#[derive(Clone, Debug)]
enum Atom {
    Char(char),
    Part(Part),
}

/// The words that a word stands for.
pub(super) fn expand(word: Word) -> Vec<Word> {
    let has_brace = |part: &Part| matches!(part, Part::Literal(text) if text.contains('{'));
    if !word.0.iter().any(has_brace) {
        return vec![word];
    }
    let atoms: Vec<Atom> = word.0.iter().flat_map(atoms).collect();
    let mut pending = vec![atoms];
    let mut done: Vec<Word> = Vec::new();
    // From the back, so that the first brace's choices come out in order.
    while let Some(atoms) = pending.pop() {
        if pending.len() + done.len() > WORDS_MAX {
            return vec![word];
        }
        match first_brace(&atoms) {
            Some((start, end, choices)) => {
                for choice in choices.into_iter().rev() {
                    pending.push([&atoms[..start], &choice, &atoms[end..]].concat());
                }
            }
            None => done.push(Word(parts(atoms))),
        }
    }
    done
}

fn atoms(part: &Part) -> Vec<Atom> {
    match part {
        Part::Literal(text) => text.chars().map(Atom::Char).collect(),
        part => vec![Atom::Part(part.clone())],
    }
}

fn parts(atoms: Vec<Atom>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for atom in atoms {
        match (atom, parts.last_mut()) {
            (Atom::Char(c), Some(Part::Literal(text))) => text.push(c),
            (Atom::Char(c), _) => parts.push(Part::Literal(c.to_string())),
            (Atom::Part(part), _) => parts.push(part),
        }
    }
    parts
}

/// The first brace that offers choices: where it is, and what they are.
fn first_brace(atoms: &[Atom]) -> Option<(usize, usize, Vec<Vec<Atom>>)> {
    let is = |index: usize, c: char| matches!(atoms[index], Atom::Char(found) if found == c);
    for start in (0..atoms.len()).filter(|index| is(*index, '{')) {
        let (mut depth, mut commas) = (0_usize, vec![start]);
        for end in start..atoms.len() {
            if is(end, '{') {
                depth += 1;
            } else if is(end, ',') && depth == 1 {
                commas.push(end);
            } else if is(end, '}') {
                depth -= 1;
                if depth > 0 {
                    continue;
                }
                if commas.len() > 1 {
                    commas.push(end);
                    let choice = |pair: &[usize]| atoms[pair[0] + 1..pair[1]].to_vec();
                    return Some((start, end + 1, commas.windows(2).map(choice).collect()));
                }
                if let Some(choices) = range(&atoms[start + 1..end]) {
                    return Some((start, end + 1, choices));
                }
                break;
            }
        }
    }
    None
}

/// `1..5`, `a..e` and `1..9..2`.
fn range(atoms: &[Atom]) -> Option<Vec<Vec<Atom>>> {
    let char = |atom: &Atom| match atom {
        Atom::Char(c) => Some(*c),
        Atom::Part(_) => None,
    };
    let text: String = atoms.iter().map(char).collect::<Option<_>>()?;
    let mut ends = text.split("..");
    let (first, last, step) = (ends.next()?, ends.next()?, ends.next());
    let step = step.map_or(Some(1), |step| step.parse::<i64>().ok())?;
    let step = step.checked_abs()?.max(1);
    let letter = |text: &str| {
        let mut chars = text.chars();
        let c = chars.next().filter(char::is_ascii_alphabetic)?;
        chars.next().is_none().then(|| i64::from(u32::from(c)))
    };
    let (is_letters, first, last) = match (letter(first), letter(last)) {
        (Some(first), Some(last)) => (true, first, last),
        _ => (false, first.parse().ok()?, last.parse().ok()?),
    };
    let distance = i64::checked_sub(last, first)?;
    let count = usize::try_from(distance.checked_abs()? / step + 1).ok()?;
    if ends.next().is_some() || count > WORDS_MAX {
        return None;
    }
    let values = (0..).take(count).map(|index: i64| first + distance.signum() * step * index);
    let shown = |value: i64| match u32::try_from(value).ok().and_then(char::from_u32) {
        Some(c) if is_letters => vec![Atom::Char(c)],
        _ => value.to_string().chars().map(Atom::Char).collect(),
    };
    Some(values.map(shown).collect())
}
