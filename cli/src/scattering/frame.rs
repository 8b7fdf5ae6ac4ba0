//! What a flat detector sees of a particle.

use rand::Rng;

use super::body::Particle;

/// A particle's turn against the beam, by the Euler angles of `sasmodels` (theta, phi, psi): the third axis points to
/// (theta, phi), and psi turns about it. Only the rows that the detector's plane needs are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orientation {
    /// Components along the particle's axes (a, b, c) of a unit step in x and in y on the detector.
    axes: [[f64; 2]; 3],
}

impl Orientation {
    /// Angles in radians.
    pub fn from_angles(theta: f64, phi: f64, psi: f64) -> Self {
        let (sin_theta, cos_theta) = theta.sin_cos();
        let (sin_phi, cos_phi) = phi.sin_cos();
        let (sin_psi, cos_psi) = psi.sin_cos();
        Self {
            axes: [
                [
                    cos_phi * cos_theta * cos_psi - sin_phi * sin_psi,
                    sin_phi * cos_theta * cos_psi + cos_phi * sin_psi,
                ],
                [
                    -sin_phi * cos_psi - cos_phi * cos_theta * sin_psi,
                    cos_phi * cos_psi - sin_phi * cos_theta * sin_psi,
                ],
                [cos_phi * sin_theta, sin_phi * sin_theta],
            ],
        }
    }

    /// Angles uniform between 0 and the given largest ones, in degrees.
    pub fn draw(rng: &mut impl Rng, theta_max: f64, phi_max: f64, psi_max: f64) -> Self {
        let mut angle = |max: f64| (rng.random::<f64>() * max).to_radians();
        Self::from_angles(angle(theta_max), angle(phi_max), angle(psi_max))
    }

    /// (qx, qy) on the detector, in the particle's axes.
    fn turn(&self, qx: f64, qy: f64) -> [f64; 3] {
        self.axes.map(|[x, y]| x * qx + y * qy)
    }
}

/// A square detector of `pixels` × `pixels`, whose outermost pixels lie `q_max` (1/Å) from its middle along each axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detector {
    /// Rows and columns.
    pub pixels: usize,
    /// q at the middle of an edge, 1/Å.
    pub q_max: f64,
    /// Where the beam hits, in pixels (rows, columns) from the middle.
    pub beam_offset: (f64, f64),
}

impl Detector {
    /// Intensities in row-major order, scaled to a maximum of 1; `None` where the particle cannot be seen (no
    /// contrast, or numbers beyond f64).
    pub fn expose(&self, particle: &Particle, orientation: &Orientation) -> Option<Vec<f64>> {
        let mut frame = self.intensities(particle, orientation);
        let brightest = frame.iter().copied().fold(0.0, f64::max);
        if !(brightest > 0.0 && frame.iter().all(|value| value.is_finite())) {
            return None;
        }
        frame.iter_mut().for_each(|value| *value /= brightest);
        Some(frame)
    }

    /// With the beam in the middle, I(q) = I(−q) fills the second half from the first.
    fn intensities(&self, particle: &Particle, orientation: &Orientation) -> Vec<f64> {
        let n_pixels = self.pixels * self.pixels;
        let centred = self.beam_offset == (0.0, 0.0);
        let n_computed = if centred { n_pixels.div_ceil(2) } else { n_pixels };
        let mut frame = vec![0.0; n_pixels];
        for index in 0..n_computed {
            let (row, col) = (index / self.pixels, index % self.pixels);
            let q = orientation
                .turn(self.q_along(col, self.beam_offset.1), self.q_along(row, self.beam_offset.0));
            frame[index] = particle.intensity(q);
            if centred {
                frame[n_pixels - 1 - index] = frame[index];
            }
        }
        frame
    }

    fn q_along(&self, pixel: usize, beam_offset: f64) -> f64 {
        let half_width = (self.pixels - 1) as f64 / 2.0;
        (pixel as f64 - half_width - beam_offset) / half_width * self.q_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scattering::body::Shape;

    const DETECTOR: Detector = Detector { pixels: 33, q_max: 0.15, beam_offset: (0.0, 0.0) };

    fn rod() -> Particle {
        Particle::single(Shape::Cylinder, [20.0, 30.0, 150.0])
    }

    #[test]
    fn orientation_keeps_lengths() {
        let orientation = Orientation::from_angles(0.7, -1.9, 2.3);
        let length = |column: usize| orientation.axes.iter().map(|row| row[column].powi(2)).sum::<f64>();
        let product: f64 = orientation.axes.iter().map(|row| row[0] * row[1]).sum();
        assert!((length(0) - 1.0).abs() < 1e-12 && (length(1) - 1.0).abs() < 1e-12 && product.abs() < 1e-12);
    }

    #[test]
    fn mirrored_pixels_are_equal_and_the_middle_is_brightest() {
        let frame = DETECTOR.expose(&rod(), &Orientation::from_angles(1.0, 0.4, 0.2)).unwrap();
        assert_eq!(frame[frame.len() / 2], 1.0);
        assert!((0..frame.len()).all(|i| frame[i] == frame[frame.len() - 1 - i]));
    }

    #[test]
    fn symmetry_is_not_only_a_copy() {
        // A tiny offset takes the path that computes every pixel.
        let nearly_centred = Detector { beam_offset: (1e-12, 0.0), ..DETECTOR };
        let orientation = Orientation::from_angles(1.0, 0.4, 0.2);
        let frame = DETECTOR.expose(&rod(), &orientation).unwrap();
        let computed = nearly_centred.expose(&rod(), &orientation).unwrap();
        assert!(frame.iter().zip(&computed).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn the_beam_moves_with_its_offset() {
        let offset = Detector { beam_offset: (-3.0, 5.0), ..DETECTOR };
        let frame = offset.expose(&rod(), &Orientation::from_angles(0.3, 0.1, 0.0)).unwrap();
        assert_eq!(frame[(16 - 3) * 33 + 16 + 5], 1.0);
    }

    #[test]
    fn a_rod_along_the_beam_looks_round() {
        let round = Particle::single(Shape::Cylinder, [20.0, 20.0, 150.0]);
        let frame = DETECTOR.expose(&round, &Orientation::from_angles(0.0, 0.0, 0.0)).unwrap();
        assert!((0..33).all(|i| (frame[16 * 33 + i] - frame[i * 33 + 16]).abs() < 1e-12));
    }

    #[test]
    fn an_invisible_particle_gives_no_frame() {
        let matched = Particle::core_shell(Shape::Ellipsoid, [5.0; 3], [9.0; 3], [2.0, 2.0, 2.0]);
        assert!(DETECTOR.expose(&matched, &Orientation::from_angles(0.0, 0.0, 0.0)).is_none());
    }
}
