//! Vectors without a model: words hashed into dimensions.
//!
//! Each word adds to or takes from one dimension, as its hash says, and each of its trigrams a
//! little; the sum is brought to length 1. Texts that share words are near by cosine, texts that
//! share none are near only by chance. (Weinberger et al., Feature Hashing, 2009.)

use std::collections::HashMap;

/// The vector of `text`: of length 1, the same on each machine and in each version.
///
/// A text without words gets the first unit vector. `dimensions` of 0 is taken as 1.
pub fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    embed_with(text, dimensions, &Synonyms::default())
}

/// Words that mean the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Synonyms(HashMap<String, String>);

impl Synonyms {
    /// Groups of words; each stands for the first of its group.
    pub(crate) fn new(groups: &[Vec<String>]) -> Self {
        let mut first_of = HashMap::new();
        for group in groups {
            let Some(first) = group.first() else { continue };
            for word in group {
                first_of.insert(word.to_lowercase(), first.to_lowercase());
            }
        }
        Self(first_of)
    }
}

/// As [`embed`], by a model that knows words that mean the same.
pub(crate) fn embed_with(text: &str, dimensions: usize, synonyms: &Synonyms) -> Vec<f32> {
    let dimensions = dimensions.max(1);
    let mut vector = vec![0.0_f32; dimensions];
    for word in text.to_lowercase().split(|it: char| !it.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        let word = synonyms.0.get(word).map_or(word, String::as_str);
        add(&mut vector, word, 1.0);
        let letters: Vec<char> = format!("^{word}$").chars().collect();
        for trigram in letters.windows(3) {
            add(&mut vector, &trigram.iter().collect::<String>(), 0.2);
        }
    }
    let length = vector.iter().map(|it| it * it).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|it| *it /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

fn add(vector: &mut [f32], feature: &str, weight: f32) {
    let hash = hash(feature);
    let dimensions = u64::try_from(vector.len()).unwrap_or(u64::MAX);
    let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
    let place = usize::try_from((hash & (u64::MAX >> 1)) % dimensions);
    if let Some(value) = place.ok().and_then(|place| vector.get_mut(place)) {
        *value += sign * weight;
    }
}

/// FNV-1a, and a last mix (of `splitmix64`) so that all bits depend on all letters.
fn hash(feature: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in feature.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(left: &str, right: &str) -> f32 {
        embed(left, 256).iter().zip(embed(right, 256)).map(|(left, right)| left * right).sum()
    }

    #[test]
    fn a_vector_has_length_one() {
        for text in ["", "...", "rain", "the tide comes in twice a day"] {
            let length: f32 = embed(text, 64).iter().map(|it| it * it).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text:?}: {length}");
        }
    }

    #[test]
    fn texts_that_share_words_are_nearer() {
        let question = "when does the tide come in";
        let near = cosine(question, "the tide comes in at noon");
        let far = cosine(question, "bread needs flour, salt and water");
        assert!(near > far + 0.2, "{near} is not well above {far}");
        assert!((cosine(question, question) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn words_that_mean_the_same_have_one_vector() {
        let groups = [vec!["Boat".to_owned(), "vessel".to_owned(), "ship".to_owned()]];
        let synonyms = Synonyms::new(&groups);
        let with = |text| embed_with(text, 256, &synonyms);
        assert_eq!(with("a VESSEL leaves"), with("a ship leaves"));
        assert_eq!(with("a vessel leaves"), embed("a boat leaves", 256));
        assert_ne!(with("a train leaves"), with("a ship leaves"));
    }

    /// Whoever stored vectors of one version searches them with another.
    #[test]
    fn vectors_do_not_change() {
        let vector = embed("low tide", 4);
        let expected = [-0.855_186, 0.122_169, 0.122_169, -0.488_678];
        for (found, expected) in vector.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{vector:?}");
        }
        assert_eq!(vector, embed("LOW   tide!", 4));
    }
}
