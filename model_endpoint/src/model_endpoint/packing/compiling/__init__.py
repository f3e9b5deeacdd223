"""Rules that turn fitted estimators into what numpy alone answers. Runs where models are packed and in the build."""
