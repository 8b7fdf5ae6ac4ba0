//! A training that stands still, as a file: whoever goes on from it gets the model of the uninterrupted training, bit
//! for bit.
//!
//! The file is a safetensors container: all of [`FitState`], the basis, and JSON with the number of steps, the random
//! generator's position and every option that the result depends on. Components of patches are not in it: they are
//! computed anew from the data, whose checksum shows that it is the same.

use std::collections::BTreeMap;

use h5z_sae::sae::Penalty;
use h5z_sae::{Error, ErrorKind};
use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::early_stop::Best;
use crate::network::{N_TENSORS, Network, NetworkShape, Objective, Parameters};
use crate::optimiser::{Adam, CLIP_NORM};
use crate::options::name_of_penalty;
use crate::pca::{Basis, Folding};
use crate::revival::Activity;
use crate::state::FitState;
use crate::tensor_file::{TensorReader, TensorWriter, corrupt};

/// Of the file's contents. Checkpoints live for days, not years: an older one is refused.
pub const CHECKPOINT_VERSION: u64 = 1;

/// The patches that a training learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPrint {
    /// Patches of the source.
    pub n_patches: usize,
    /// Training patches that can be used.
    pub n_training: usize,
    /// Checksum of the training patches' values, as they were read.
    pub checksum: u32,
}

/// A training that stands still.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it was asked for, as by [`TrainOptions::named`](crate::options::TrainOptions::named).
    pub options: BTreeMap<String, String>,
    /// What it learns from.
    pub data: DataPrint,
    /// All its steps.
    pub n_steps: usize,
    /// Id of the model that it started from.
    pub init: Option<String>,
    /// What it minimises; a search may have chosen it.
    pub objective: Objective,
    /// The basis, all rows.
    pub basis: Basis,
    /// Where it stands.
    pub state: FitState,
}

const NAMES: [&str; N_TENSORS] =
    ["input", "input_bias", "latent", "latent_bias", "hidden", "hidden_bias", "coef", "coef_bias"];

fn shapes_of(shape: NetworkShape) -> [Vec<usize>; N_TENSORS] {
    let NetworkShape { components: k, hidden: m, latents: l } = shape;
    [vec![k, m], vec![m], vec![l, m], vec![l], vec![l, m], vec![m], vec![m, k], vec![k]]
}

fn add_parameters(file: &mut TensorWriter, prefix: &str, parameters: &Parameters<f32>) {
    let named = NAMES.iter().zip(shapes_of(parameters.shape()));
    for ((name, shape), values) in named.zip(parameters.tensors()) {
        file.add(format!("{prefix}.{name}"), &shape, values);
    }
}

fn read_parameters(file: &TensorReader, prefix: &str, shape: NetworkShape) -> Result<Parameters<f32>, Error> {
    let mut parameters = Parameters::zeros(shape);
    let named = NAMES.iter().zip(shapes_of(shape));
    for ((name, shape), tensor) in named.zip(parameters.tensors_mut()) {
        tensor.copy_from_slice(&file.read(&format!("{prefix}.{name}"), &shape)?);
    }
    Ok(parameters)
}

impl Checkpoint {
    /// Bytes of the file. `caller` is handed back by [`Self::parse`]: what a program needs to go on without being
    /// told everything again.
    ///
    /// # Errors
    /// `System` if the container cannot be written.
    pub fn to_bytes(&self, caller: &Value) -> Result<Vec<u8>, Error> {
        let (state, basis) = (&self.state, &self.basis);
        let mut file = TensorWriter::default();
        add_parameters(&mut file, "network", &state.network.parameters);
        let [mean, square] = state.adam.moments();
        add_parameters(&mut file, "adam.mean", mean);
        add_parameters(&mut file, "adam.square", square);
        if let Some(best) = &state.best {
            add_parameters(&mut file, "best", &best.parameters);
        }
        let (n_components, len) = basis.rows.dim();
        let input_scale = &state.network.input_scale;
        file.add("network.input_scale", &[input_scale.len()], &input_scale.to_vec());
        let order: Vec<u64> = state.order.iter().map(|&index| index as u64).collect();
        file.add("order", &[order.len()], &order);
        file.add("fired", &[state.activity.fired().len()], state.activity.fired());
        file.add("basis.mean", &[len], &basis.mean.to_vec());
        file.add("basis.rows", &[n_components, len], &flat(&basis.rows));
        file.add("basis.inverse_gram", &[n_components, n_components], &flat(&basis.inverse_gram));
        file.add("basis.variances", &[n_components], &basis.variances.to_vec());
        file.finish(self.text(caller).to_string())
    }

    fn text(&self, caller: &Value) -> Value {
        let state = &self.state;
        let shape = state.network.parameters.shape();
        json!({
            "version": CHECKPOINT_VERSION,
            "trainer": env!("CARGO_PKG_VERSION"),
            "options": self.options,
            "shape": [shape.components, shape.hidden, shape.latents],
            "basis_rows": self.basis.n_components(),
            "steps": self.n_steps,
            "step": state.step,
            "next": state.next,
            "rng": {
                "seed": state.rng.get_seed(),
                "stream": state.rng.get_stream().to_string(),
                "word_pos": state.rng.get_word_pos().to_string(),
            },
            "best": state.best.as_ref().map(|best| json!([best.coded_bytes, best.step, best.n_since])),
            "data": [self.data.n_patches, self.data.n_training, self.data.checksum as usize],
            "init": self.init,
            "objective": json!({
                "active": self.objective.active,
                "penalty": name_of_penalty(self.objective.penalty),
                "lambda": self.objective.sparsity_lambda,
                "rate_scale": self.objective.rate_scale,
            }),
            "patch_len": self.basis.folding.patch_len,
            "point_symmetric": self.basis.folding.point_symmetric,
            "total_variance": self.basis.total_variance,
            "caller": caller,
        })
    }

    /// Reads a file; returns what the caller had added, too. The network's objective is left empty: it stands beside.
    ///
    /// # Errors
    /// `Unsupported` for another version; `Corrupt` for everything else that is not a whole checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Value), Error> {
        let (file, text) = TensorReader::try_new(bytes)?;
        let text =
            Text(serde_json::from_str(&text).map_err(|error| corrupt(format_args!("its text: {error}")))?);
        let version = text.number("version")?;
        if version as u64 != CHECKPOINT_VERSION {
            let message =
                format!("checkpoint of version {version}: this program reads version {CHECKPOINT_VERSION}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let [components, hidden, latents] = text.numbers("shape")?;
        let shape = NetworkShape { components, hidden, latents };
        let [n_patches, n_training, checksum] = text.numbers("data")?;
        let checkpoint = Self {
            options: text.get("options")?,
            data: DataPrint { n_patches, n_training, checksum: checksum as u32 },
            n_steps: text.number("steps")?,
            init: text.get("init")?,
            objective: read_objective(&text)?,
            basis: read_basis(&file, &text, text.number("basis_rows")?)?,
            state: read_state(&file, &text, shape, n_training)?,
        };
        Ok((checkpoint, text.get("caller")?))
    }

    /// Refuses to go on with other options.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the first option that differs, what it was and what it is.
    pub fn check_options(&self, asked: &BTreeMap<String, String>) -> Result<(), Error> {
        let absent = "absent".to_owned();
        let names = asked.keys().chain(self.options.keys());
        let pairs = names.map(|name| {
            (name, self.options.get(name).unwrap_or(&absent), asked.get(name).unwrap_or(&absent))
        });
        different(pairs.map(|(name, was, is)| (name.as_str(), was.clone(), is.clone())))
    }

    /// Refuses to go on with other data.
    ///
    /// # Errors
    /// `InvalidArgument`, with what was found and what was expected.
    pub fn check_data(&self, found: DataPrint) -> Result<(), Error> {
        let DataPrint { n_patches, n_training, checksum } = self.data;
        let hex = |checksum: u32| format!("{checksum:08x}");
        different([
            ("number of patches", n_patches.to_string(), found.n_patches.to_string()),
            ("number of training patches", n_training.to_string(), found.n_training.to_string()),
            ("checksum of the training patches", hex(checksum), hex(found.checksum)),
        ])
    }
}

fn different<'a>(triples: impl IntoIterator<Item = (&'a str, String, String)>) -> Result<(), Error> {
    let first = triples.into_iter().find(|(_, was, is)| was != is);
    first.map_or(Ok(()), |(name, was, is)| {
        let message =
            format!("the checkpoint belongs to another training: {name} was {was}, and is {is} now");
        Err(Error::new(ErrorKind::InvalidArgument, message))
    })
}

fn flat<T: Copy>(array: &Array2<T>) -> Vec<T> {
    array.iter().copied().collect()
}

fn matrix<T>(values: Vec<T>, rows: usize, cols: usize) -> Array2<T> {
    Array2::from_shape_vec((rows, cols), values).expect("a tensor's length was compared with its shape")
}

fn read_objective(text: &Text) -> Result<Objective, Error> {
    /// As it stands in the file.
    #[derive(serde::Deserialize)]
    struct Stored {
        active: usize,
        penalty: String,
        lambda: f64,
        rate_scale: f64,
    }
    let Stored { active, penalty, lambda: sparsity_lambda, rate_scale } = text.get("objective")?;
    let known = [Penalty::Z, Penalty::Grad].into_iter().find(|&known| name_of_penalty(known) == penalty);
    let penalty = known.ok_or_else(|| corrupt(format_args!("penalty {penalty:?}")))?;
    Ok(Objective { active, penalty, sparsity_lambda, rate_scale })
}

fn read_basis(file: &TensorReader, text: &Text, n_components: usize) -> Result<Basis, Error> {
    let folding =
        Folding { patch_len: text.number("patch_len")?, point_symmetric: text.get("point_symmetric")? };
    let len = folding.folded_len();
    Ok(Basis::restored(
        folding,
        file.read("basis.mean", &[len])?.into(),
        matrix(file.read("basis.rows", &[n_components, len])?, n_components, len),
        matrix(file.read("basis.inverse_gram", &[n_components; 2])?, n_components, n_components),
        file.read("basis.variances", &[n_components])?.into(),
        text.get("total_variance")?,
    ))
}

fn read_state(
    file: &TensorReader,
    text: &Text,
    shape: NetworkShape,
    n_training: usize,
) -> Result<FitState, Error> {
    let (step, next) = (text.number("step")?, text.number("next")?);
    let network = Network {
        parameters: read_parameters(file, "network", shape)?,
        input_scale: Array1::from(file.read("network.input_scale", &[shape.components])?),
        objective: Objective { active: 0, penalty: Penalty::Z, sparsity_lambda: 0.0, rate_scale: 0.0 },
    };
    let [mean, square] =
        [read_parameters(file, "adam.mean", shape)?, read_parameters(file, "adam.square", shape)?];
    let best: Option<[usize; 3]> = text.get("best")?;
    let best = best.map(|[coded_bytes, step, n_since]| {
        Ok(Best { parameters: read_parameters(file, "best", shape)?, coded_bytes, step, n_since })
    });
    Ok(FitState {
        network,
        adam: Adam::resumed(mean, square, step, CLIP_NORM),
        rng: text.rng()?,
        order: read_order(file, n_training, next)?,
        next,
        activity: Activity::resumed(file.read("fired", &[shape.latents])?),
        step,
        best: best.transpose()?,
    })
}

fn read_order(file: &TensorReader, n_training: usize, next: usize) -> Result<Vec<usize>, Error> {
    let order: Vec<u64> = file.read("order", &[n_training])?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if next > n_training || !sorted.iter().copied().eq(0..n_training as u64) {
        return Err(corrupt("\"order\" is no order of the training patches"));
    }
    Ok(order.into_iter().map(|index| index as usize).collect())
}

/// The JSON text.
struct Text(Value);

impl Text {
    fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        let value = self.0.get(key).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| corrupt(format_args!("\"{key}\" in its text: {error}")))
    }

    fn number(&self, key: &str) -> Result<usize, Error> {
        self.get(key)
    }

    fn numbers(&self, key: &str) -> Result<[usize; 3], Error> {
        self.get(key)
    }

    fn rng(&self) -> Result<ChaCha8Rng, Error> {
        let of = |key: &str| self.0["rng"][key].as_str().unwrap_or_default().to_owned();
        let bad = |_| corrupt("\"rng\" in its text: expected stream and word_pos as numbers");
        let seed: [u8; 32] = serde_json::from_value(self.0["rng"]["seed"].clone())
            .map_err(|error| corrupt(format_args!("\"rng\" in its text: {error}")))?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(of("stream").parse().map_err(bad)?);
        rng.set_word_pos(of("word_pos").parse().map_err(bad)?);
        Ok(rng)
    }
}
