# The cloud controller.
include lab::controller
