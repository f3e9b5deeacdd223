"""The plays and files that these tests name. A unit test sees to it that each of them exists."""

LOCK = "Take the deploy lock"
BUILD = "Build the images"
STAGE = "Stage the release"
GATE = "Gate: check the staged release on every node"
FLIP = "Flip the traffic"
WATCH = "Watch the release"
COMMIT = "Commit the release"
INSTALL_CERTIFICATES = "Install the certificates"
APPLY_CERTIFICATES = "Have Nginx use the new certificates"
PLAYS = (LOCK, BUILD, STAGE, GATE, FLIP, WATCH, COMMIT, INSTALL_CERTIFICATES, APPLY_CERTIFICATES)

INSTALL_STATE = "roles/release/tasks/install_state.yml"
"""The tasks that one load balancer after another runs to use a new state."""
