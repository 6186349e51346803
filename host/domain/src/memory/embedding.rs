//! A text's place in the space of a model that embeds texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::error::MemoryError;
use super::name::ModelName;

/// The most numbers of an embedding.
pub const DIMENSION_MAX: usize = 4_096;

/// A direction in a model's space: 1 to [`DIMENSION_MAX`] finite `f32`, scaled to length 1.
///
/// Serialized as `{"model": …, "vector": …}`, the numbers little-endian in base64: a third of
/// their size as JSON numbers, and the same bytes each time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Embedding {
    model: ModelName,
    vector: Vec<f32>,
}

impl Embedding {
    /// A vector that `model` gave.
    ///
    /// # Errors
    /// [`MemoryError::Dimension`]; [`MemoryError::Vector`] where a number is not finite or all
    /// are zero.
    pub fn new(model: ModelName, mut vector: Vec<f32>) -> Result<Self, MemoryError> {
        check_dimension(vector.len())?;
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(MemoryError::Vector { reason: "a number of it is not finite" });
        }
        let squares: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
        if squares == 0.0 {
            return Err(MemoryError::Vector { reason: "all of its numbers are zero" });
        }
        // What has length 1 already stays as it is, bit for bit, so that reading back what was
        // written changes nothing.
        if (squares - 1.0).abs() > 1e-6 {
            let length = squares.sqrt();
            for number in &mut vector {
                *number = narrow(f64::from(*number) / length);
            }
        }
        Ok(Self { model, vector })
    }

    /// Who made it.
    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The numbers; the sum of their squares is 1.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    model: ModelName,
    vector: String,
}

impl TryFrom<Wire> for Embedding {
    type Error = MemoryError;

    fn try_from(wire: Wire) -> Result<Self, MemoryError> {
        // Four thirds of the bytes, rounded up to four characters.
        check_dimension(wire.vector.len() / 4 * 3 / 4)?;
        let malformed = MemoryError::Vector { reason: "it is not base64 of 4-byte numbers" };
        let bytes = STANDARD.decode(&wire.vector).map_err(|_| malformed.clone())?;
        let (numbers, []) = bytes.as_chunks::<4>() else { return Err(malformed) };
        Self::new(wire.model, numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

impl From<Embedding> for Wire {
    fn from(embedding: Embedding) -> Self {
        let bytes: Vec<u8> = embedding.vector.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self { model: embedding.model, vector: STANDARD.encode(bytes) }
    }
}

fn check_dimension(dimension: usize) -> Result<(), MemoryError> {
    if (1..=DIMENSION_MAX).contains(&dimension) {
        return Ok(());
    }
    Err(MemoryError::Dimension { dimension, max: DIMENSION_MAX })
}

#[expect(clippy::as_conversions, reason = "there is no other way from f64 to f32; it rounds")]
fn narrow(number: f64) -> f32 {
    number as f32
}
