"""Metrics of a prediction. Error metrics are in the registry ``METRICS``; import it from here."""

from neuralop_irno.domain.grid import latitude_weights as latitude_weights
from neuralop_irno.metrics.correlation import acc as acc
from neuralop_irno.metrics.fourier_distance import fourier_distance as fourier_distance
from neuralop_irno.metrics.images import psnr as psnr
from neuralop_irno.metrics.images import ssim as ssim
from neuralop_irno.metrics.pointwise import error_rate as error_rate
from neuralop_irno.metrics.pointwise import errors_of_quantities as errors_of_quantities
from neuralop_irno.metrics.pointwise import mse as mse
from neuralop_irno.metrics.pointwise import own_metric as own_metric
from neuralop_irno.metrics.pointwise import relative_l1 as relative_l1
from neuralop_irno.metrics.pointwise import relative_l2 as relative_l2
from neuralop_irno.metrics.pointwise import rmse as rmse
from neuralop_irno.metrics.pointwise import vrmse as vrmse
from neuralop_irno.metrics.spectral import spectral_errors as spectral_errors
from neuralop_irno.metrics.summary import Summary as Summary
from neuralop_irno.metrics.summary import summarise as summarise
from neuralop_irno.metrics.summary import summarise_medians as summarise_medians
from neuralop_irno.registry import METRICS as METRICS
